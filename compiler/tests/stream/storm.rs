//! Everybody at once.

use std::num::NonZeroUsize;
use std::time::Duration;

use flock_compiler::service::Limits;
use flock_compiler::source::SourceEvent;
use flock_compiler_core::{Change, Edit};
use flock_proto::UpdateKind;
use tokio::task::JoinSet;

use super::compiler::Compiler;
use super::objects::pod;

#[tokio::test(start_paused = true)]
async fn everybody_is_served_through_the_narrowest_bounds() {
    let limits = Limits { renders: NonZeroUsize::MIN, unwritten: NonZeroUsize::MIN, ..Limits::default() };
    let mut compiler = Compiler::start(100, limits).await;
    let mut storm = JoinSet::new();
    for node in 0..100 {
        let mut agent = compiler.agent(node, None).await;
        storm.spawn(async move {
            let (revision, kind) = agent.apply().await;
            assert!(matches!(kind, UpdateKind::Full(_)));
            (agent, node, revision)
        });
    }
    let mut agents = storm.join_all().await;
    assert_eq!(compiler.metric("flock_compiler_updates_total{kind=\"full\"}"), 100);
    compiler.change().await;
    for (agent, node, before) in &mut agents {
        let (revision, _) = agent.apply().await;
        assert_eq!(revision, compiler.revision(*node).await);
        assert_ne!(revision, *before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_costs_one_pass_and_one_without_end_a_few() {
    let compiler = Compiler::start(2, Limits::default()).await;
    let passes = async || {
        // The engine answers when it has counted the pass before.
        compiler.revision(0).await;
        compiler.metric("flock_compiler_translation_seconds_count")
    };
    let told = |number: usize| SourceEvent::from(Change::Pod(Edit::Upsert(pod(number, 0))));
    let mut agent = compiler.agent(0, None).await;
    agent.apply().await;
    let before = passes().await;
    for number in 100..140 {
        compiler.tell(told(number)).await;
    }
    let (revision, _) = agent.apply().await;
    assert_eq!(passes().await, before + 1, "one for 40 events");
    assert_eq!(revision, compiler.revision(0).await);

    let before = passes().await;
    for number in 200..400 {
        compiler.tell(told(number)).await;
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    // 200 events, each in the pause that would end a burst: 100 ms, or 200 ms where the timer counts whole ones.
    let made = passes().await - before;
    assert!((2..=8).contains(&made), "{made}");
}
