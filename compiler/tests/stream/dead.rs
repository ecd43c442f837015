//! Peers that vanish without a word.

use std::time::Duration;

use flock_compiler::service::Limits;
use tokio::time::Instant;

use super::agent::{self, hello_of};
use super::compiler::Compiler;

#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_found_by_its_missing_pings() {
    let compiler = Compiler::start(2, Limits::default()).await;
    let (channel, wire) = compiler.dial().await;
    let mut agent = agent::open(channel, hello_of(0)).await;
    let mut other = compiler.agent(1, None).await;
    agent.apply().await;
    other.apply().await;
    compiler.until("flock_compiler_acks_total{outcome=\"applied\"}", 2).await;
    wire.cut();
    let cut = Instant::now();
    compiler.until("flock_compiler_streams", 1).await;
    // On the test's own clock.
    assert!(cut.elapsed() <= Duration::from_secs(31), "{:?}", cut.elapsed());
    let mut status = compiler.context.fleet.all();
    assert!(status.remove(&super::objects::node_name(1)).unwrap().stream.is_some());
}
