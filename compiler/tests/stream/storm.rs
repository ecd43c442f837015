//! Everybody at once.

use std::num::NonZeroUsize;

use flock_compiler::service::Limits;
use flock_proto::UpdateKind;
use tokio::task::JoinSet;

use super::compiler::Compiler;

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
