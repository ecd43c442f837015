//! Peers that keep their connection alive and read nothing of what is sent.

use std::num::NonZeroUsize;
use std::time::Duration;

use flock_compiler::service::Limits;
use flock_proto::{Outcome, UpdateKind, v1};
use flock_testkit::agent::FakeAgent;
use http::uri::PathAndQuery;
use tonic::Request;
use tonic_prost::ProstCodec;

use super::agent::{self, hello_of};
use super::compiler::Compiler;
use super::objects::node_name;

/// Enough pods for scripts that are larger than the window below.
const PODS: usize = 10_000;

/// The window of an agent that reads nothing.
const WINDOW: u32 = 65_535;

const UNREAD: &str = "flock_compiler_dropped_total{what=\"unread\"}";
const DELTAS: &str = "flock_compiler_updates_total{kind=\"delta\"}";
const STREAMS: &str = "flock_compiler_streams";

/// An agent that takes what its window holds and no more.
async fn stalled(compiler: &Compiler, node: usize) -> FakeAgent {
    let (channel, _) = compiler.dial_with(|endpoint| endpoint.initial_stream_window_size(WINDOW)).await;
    agent::open(channel, hello_of(node)).await
}

#[tokio::test(start_paused = true)]
async fn it_is_dropped_and_nobody_else_notices() {
    let mut compiler = Compiler::start_with(21, PODS, Limits::default()).await;
    let stalled = stalled(&compiler, 0).await;
    let mut others = Vec::new();
    for node in 1..=20 {
        others.push(compiler.agent(node, None).await);
    }
    compiler.until(STREAMS, 21).await;
    for _ in 0..2 {
        for (agent, node) in others.iter_mut().zip(1..) {
            assert_eq!(agent.apply().await.0, compiler.revision(node).await);
        }
        assert_eq!(compiler.metric(UNREAD), 0);
        compiler.change().await;
    }
    compiler.until(UNREAD, 1).await;
    compiler.until(STREAMS, 20).await;
    drop(stalled);
}

#[tokio::test(start_paused = true)]
async fn what_it_holds_up_is_full_scripts_until_it_is_dropped() {
    // Room for one script: the stalled agent has it.
    let limits = Limits { unwritten: NonZeroUsize::MIN, ..Limits::default() };
    let compiler = Compiler::start_with(3, PODS, limits).await;
    let stalled = stalled(&compiler, 0).await;
    compiler.until("flock_compiler_updates_total{kind=\"full\"}", 1).await;
    let mut waiting = compiler.agent(1, None).await;
    compiler.until(STREAMS, 2).await;

    // Who is current needs no room.
    let revision = compiler.revision(2).await;
    let mut current = compiler.agent(2, Some(revision.clone())).await;
    assert_eq!(current.apply().await, (revision, UpdateKind::Current));
    assert_eq!(compiler.metric(UNREAD), 0);

    assert!(matches!(waiting.apply().await.1, UpdateKind::Full(_)));
    assert_eq!(compiler.metric(UNREAD), 1);
    drop(stalled);
}

#[tokio::test(start_paused = true)]
async fn large_deltas_wait_for_room_and_small_ones_do_not() {
    let limits = Limits { unwritten: NonZeroUsize::MIN, ..Limits::default() };
    let mut compiler = Compiler::start(3, limits).await;
    let mut stalled = stalled(&compiler, 0).await;
    stalled.apply().await;
    let mut others = [compiler.agent(1, None).await, compiler.agent(2, None).await];
    let mut held = Vec::new();
    for other in &mut others {
        held.push(other.update().await.revision);
    }
    compiler.grow(PODS).await;
    compiler.until(DELTAS, 1).await;

    // The same large delta for all, and the stalled one has the room.
    for (other, revision) in others.iter().zip(&held) {
        other.answer(revision, Outcome::Applied).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((compiler.metric(DELTAS), compiler.metric(UNREAD)), (1, 0));
    for other in &mut others {
        let (_, kind) = other.apply().await;
        assert!(matches!(&kind, UpdateKind::Delta { script, .. } if script.bytes().len() > 100_000));
    }
    assert_eq!(compiler.metric(UNREAD), 1);
    drop(stalled);
}

#[tokio::test(start_paused = true)]
async fn small_deltas_pass_those_that_wait_for_room() {
    let limits = Limits { unwritten: NonZeroUsize::MIN, ..Limits::default() };
    let mut compiler = Compiler::start_with(2, PODS, limits).await;
    let revision = compiler.revision(1).await;
    let mut other = compiler.agent(1, Some(revision)).await;
    other.apply().await;
    let stalled = stalled(&compiler, 0).await;
    compiler.until("flock_compiler_updates_total{kind=\"full\"}", 1).await;
    compiler.change().await;
    assert!(matches!(other.apply().await.1, UpdateKind::Delta { .. }));
    assert_eq!(compiler.metric(UNREAD), 0);
    drop(stalled);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_script_and_does_not_read_it_is_dropped_too() {
    let compiler = Compiler::start_with(2, PODS, Limits::default()).await;
    let (channel, _) = compiler.dial_with(|endpoint| endpoint.initial_stream_window_size(WINDOW)).await;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/flock.netpol.v1.DebugService/GetScript");
    let request = Request::new(v1::GetScriptRequest { node: node_name(0).to_string() });
    let codec = ProstCodec::<_, v1::GetScriptResponse>::default();
    let unread = client.server_streaming(request, path, codec).await.unwrap();
    compiler.until(UNREAD, 1).await;
    drop(unread);
}
