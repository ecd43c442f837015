//! What a reconnect costs the network.

use flock_compiler::service::Limits;
use flock_proto::{Hello, UpdateKind};

use super::agent::{self, hello_of};
use super::compiler::Compiler;

/// Of a whole connection until its agent is known to be current, both ways.
const BAR: u64 = 1024;

#[tokio::test(start_paused = true)]
async fn an_agent_with_the_right_revision_costs_less_than_a_kilobyte() {
    let compiler = Compiler::start(100, Limits::default()).await;
    let revision = compiler.revision(0).await;
    let (channel, wire) = compiler.dial().await;
    let mut agent = agent::open(channel, Hello { applied: Some(revision.clone()), ..hello_of(0) }).await;
    assert_eq!(agent.apply().await, (revision, UpdateKind::Current));
    compiler.until("flock_compiler_acks_total{outcome=\"unchanged\"}", 1).await;
    assert!(wire.bytes() <= BAR, "{} bytes", wire.bytes());
    for kind in ["full", "delta"] {
        assert_eq!(
            compiler.metric(&format!("flock_compiler_sent_bytes_total{{kind=\"{kind}\"}}")),
            0,
            "{kind}"
        );
    }
}
