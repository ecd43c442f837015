//! What follows which answer.

use flock_compiler::service::Limits;
use flock_proto::{Hello, Outcome, Update, UpdateKind};
use flock_shared::{SUPERSEDED_LIMIT, Superseded};
use tonic::Code;

use super::agent::{self, hello_of};
use super::compiler::Compiler;

const UNANSWERED: &str = "flock_compiler_dropped_total{what=\"unanswered\"}";
const STREAMS: &str = "flock_compiler_streams";

#[tokio::test(start_paused = true)]
async fn states_that_were_overtaken_are_not_sent() {
    let mut compiler = Compiler::start(1, Limits::default()).await;
    let mut agent = compiler.agent(0, None).await;
    let first = agent.update().await.revision;
    for _ in 0..5 {
        compiler.change().await;
    }
    agent.answer(&first, Outcome::Applied).await;
    let (second, _) = agent.apply().await;
    assert_eq!(second, compiler.revision(0).await);
    compiler.change().await;
    let (third, _) = agent.apply().await;
    assert_eq!(third, compiler.revision(0).await);
    let sent: u64 = ["full", "delta", "current"]
        .map(|kind| compiler.metric(&format!("flock_compiler_updates_total{{kind=\"{kind}\"}}")))
        .iter()
        .sum();
    assert_eq!(sent, 3);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_answers_is_dropped_and_may_come_back() {
    let mut compiler = Compiler::start(2, Limits::default()).await;
    let mut silent = compiler.agent(0, None).await;
    let mut other = compiler.agent(1, None).await;
    let unanswered = silent.update().await.revision;
    other.apply().await;
    let ended = silent.end().await;
    assert_eq!(
        (ended.code(), ended.message()),
        (Code::DeadlineExceeded, "no answer to an update within 300s")
    );
    assert_eq!(compiler.metric(UNANSWERED), 1);
    compiler.until(STREAMS, 1).await;

    compiler.change().await;
    assert_eq!(other.apply().await.0, compiler.revision(1).await);
    let mut again = compiler.agent(0, Some(unanswered)).await;
    assert_eq!(again.apply().await.0, compiler.revision(0).await);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_refuses_its_table_twice_gets_the_closed_form_from_every_replica() {
    let mut compiler = Compiler::start(1, Limits::default()).await;
    let mut agent = compiler.agent(0, None).await;
    let refused = agent.update().await.revision;
    for _ in 0..2 {
        agent.answer(&refused, Outcome::NftFailed).await;
    }
    let Update { revision: closed, kind: UpdateKind::Full(script), .. } = agent.update().await else {
        panic!()
    };
    assert_ne!(closed, refused);
    assert!(std::str::from_utf8(script.bytes()).unwrap().contains(closed.as_str()));
    agent.answer(&closed, Outcome::Applied).await;
    drop(agent);

    let mut again = compiler.agent(0, Some(closed.clone())).await;
    assert_eq!(again.apply().await, (closed.clone(), UpdateKind::Current), "whoever it comes to");
    // A new stream tries the normal form once: the node may have become another.
    let tried = again.update().await;
    assert_eq!(tried.revision, refused);
    again.answer(&refused, Outcome::Applied).await;
    compiler.change().await;
    assert!(matches!(again.apply().await.1, UpdateKind::Delta { base, .. } if base == refused));
}

#[tokio::test(start_paused = true)]
async fn a_change_is_a_delta_on_what_was_acknowledged() {
    let mut compiler = Compiler::start(1, Limits::default()).await;
    let mut agent = compiler.agent(0, None).await;
    let (mut has, _) = agent.apply().await;
    // One state at a time, and then several that overtake each other.
    for changes in [1, 1, 3] {
        for _ in 0..changes {
            compiler.change().await;
        }
        // Whatever was sent before the last change is not the last.
        while has != compiler.revision(0).await {
            let (revision, kind) = agent.apply().await;
            assert!(matches!(kind, UpdateKind::Delta { base, .. } if base == has));
            has = revision;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_delta_is_followed_by_a_full_script_and_that_by_deltas() {
    let refusals = [
        Outcome::HashMismatch,
        Outcome::BaseMismatch,
        Outcome::Malformed,
        Outcome::NftFailed,
        Outcome::NftTimedOut,
        Outcome::NftKilled,
        Outcome::NftMissing,
    ];
    let mut compiler = Compiler::start(1, Limits::default()).await;
    let mut agent = compiler.agent(0, None).await;
    agent.apply().await;
    for outcome in refusals {
        compiler.change().await;
        let refused = agent.update().await;
        assert!(matches!(refused.kind, UpdateKind::Delta { .. }), "{outcome}");
        agent.answer(&refused.revision, outcome).await;
        let (revision, kind) = agent.apply().await;
        assert_eq!(revision, refused.revision);
        assert!(matches!(kind, UpdateKind::Full(_)), "{outcome}");
    }
    let sent = |kind| compiler.metric(&format!("flock_compiler_updates_total{{kind=\"{kind}\"}}"));
    assert_eq!([sent("full"), sent("delta"), sent("current")], [8, 7, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_full_script_that_does_not_arrive_whole_comes_again() {
    let compiler = Compiler::start(1, Limits::default()).await;
    let mut agent = compiler.agent(0, None).await;
    for outcome in [Outcome::HashMismatch, Outcome::BaseMismatch, Outcome::Malformed] {
        let refused = agent.update().await;
        agent.answer(&refused.revision, outcome).await;
    }
    assert!(matches!(agent.apply().await.1, UpdateKind::Full(_)));
}

#[tokio::test(start_paused = true)]
async fn a_current_that_is_refused_is_followed_by_a_full_script() {
    let compiler = Compiler::start(1, Limits::default()).await;
    let revision = compiler.revision(0).await;
    let mut agent = compiler.agent(0, Some(revision.clone())).await;
    assert_eq!(agent.update().await.kind, UpdateKind::Current);
    agent.answer(&revision, Outcome::BaseMismatch).await;
    assert!(matches!(agent.apply().await.1, UpdateKind::Full(_)));
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_asked_to_leave() {
    let compiler = Compiler::start(1, Limits::default()).await;
    let mut agent = agent::silent(compiler.dial().await.0).await;
    let ended = agent.end().await;
    assert_eq!((ended.code(), ended.message()), (Code::DeadlineExceeded, "no hello within 10s"));
}

#[tokio::test(start_paused = true)]
async fn markers_that_deltas_leave_behind_are_few_and_survive_a_reconnect() {
    let mut compiler = Compiler::start(1, Limits::default()).await;
    let mut agent = compiler.agent(0, None).await;
    let (mut has, _) = agent.apply().await;
    let mut left = Superseded::default();
    let mut counts = Vec::new();
    for step in 0..2 * SUPERSEDED_LIMIT + 3 {
        compiler.change().await;
        let Update { revision, kind: UpdateKind::Delta { base, script }, superseded, .. } =
            agent.update().await
        else {
            panic!("a delta is due")
        };
        assert_eq!(base, has);
        let script = String::from_utf8(script.bytes().to_vec()).unwrap();
        let swept =
            left.iter().filter(|it| script.contains(&format!("delete set inet flock_netpol rev_{it}\n")));
        assert_eq!(swept.count(), if superseded.is_empty() { left.len() } else { 0 }, "{script}");
        assert_eq!(script.contains("delete"), superseded.is_empty(), "{script}");
        agent.answer(&revision, Outcome::Applied).await;
        (has, left) = (revision, superseded);
        counts.push(left.len());
        if step % 5 == 0 {
            let channel = compiler.dial().await.0;
            agent = agent::open(
                channel,
                Hello { applied: Some(has.clone()), superseded: left.clone(), ..hello_of(0) },
            )
            .await;
            let update = agent.update().await;
            assert_eq!((update.kind, update.superseded), (UpdateKind::Current, Superseded::default()));
            agent.answer(&has, Outcome::Unchanged).await;
        }
    }
    let expected = (1..=SUPERSEDED_LIMIT).chain([0]).cycle();
    assert!(counts.iter().copied().eq(expected.take(counts.len())), "{counts:?}");
}
