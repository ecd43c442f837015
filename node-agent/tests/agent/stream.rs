//! One agent, as a future, and what it answers.

use std::time::Duration;

use flock_node_agent::authorities::CaRefresh;
use flock_node_agent::facts::Mode;
use flock_node_agent::health::HealthListen;
use flock_node_agent::nft::Nft;
use flock_node_agent::run::{self, Config, RunError};
use flock_node_agent::runner::Until;
use flock_proto::{Outcome, Position, Update, UpdateKind, v1};
use flock_shared::NodeName;
use flock_testkit::compiler::{FakeCompiler, Session, patiently};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fake_nft::{Behaviour, FakeNft};
use crate::updates::{at, delta, full, large, revision, script};

/// Long enough for nft on a busy machine, and never reached where nothing hangs.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

/// An agent that runs on the test's own thread.
pub(crate) struct Agent {
    pub(crate) config: Config,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), RunError>>,
}

pub(crate) fn config(compiler: &FakeCompiler, nft: &str) -> Config {
    Config {
        node: NodeName::new("n1").unwrap(),
        compilers: vec![compiler.url().parse().unwrap()],
        trust: None,
        token_file: None,
        nft: Nft::new(nft.parse().unwrap(), NEVER),
        state_dir: None,
        check_interval: NEVER,
        bridge_nf: Mode::Check,
        cni_socket: None,
        health_listen: HealthListen::none(),
        ca_refresh: CaRefresh::Wait,
        until: Until::Stopped,
    }
}

impl Agent {
    pub(crate) fn start(config: Config) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run::run(config.clone(), stopped));
        Self { config, stop, task }
    }

    pub(crate) async fn end(self) -> Result<(), RunError> {
        patiently(self.task).await.unwrap()
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        assert_eq!(self.end().await, Ok(()));
    }
}

/// A compiler, an nft, an agent that `adapt` may configure, and its first stream.
pub(crate) async fn start(adapt: impl FnOnce(&mut Config)) -> (FakeCompiler, FakeNft, Agent, Session) {
    let mut compiler = FakeCompiler::start().await;
    let nft = FakeNft::new();
    let mut config = config(&compiler, &nft.command());
    adapt(&mut config);
    let agent = Agent::start(config);
    let session = compiler.session().await;
    (compiler, nft, agent, session)
}

#[tokio::test]
async fn a_script_is_run_once_byte_for_byte_and_then_unchanged() {
    let (_compiler, nft, agent, mut session) = start(|_| ()).await;
    assert_eq!(session.hello.node, agent.config.node);
    assert_eq!(session.hello.nft_version, "nftables v1.0.6 (Fake)");
    assert_eq!(session.hello.applied, None);

    let ack = session.ask(full("a")).await;
    assert_eq!((ack.revision, ack.outcome), (Some(revision("a")), Outcome::Applied));
    let again = session.ask(full("a")).await;
    assert_eq!((again.revision, again.outcome), (Some(revision("a")), Outcome::Unchanged));
    assert_eq!((nft.runs(), nft.run(0)), (1, script("a").bytes().to_vec()));
    agent.stop().await;
    session.end().await;
    assert!(nft.holds(&revision("a")), "stopping leaves the rules in place");
}

#[tokio::test]
async fn what_is_refused_never_reaches_nft() {
    let (_compiler, nft, agent, mut session) = start(|_| ()).await;
    session.apply(full("a")).await;
    let changed = v1::Update { script: "flush ruleset\n".into(), ..full("b") };
    let refusals = [
        (changed, Some("b"), Outcome::HashMismatch),
        (delta("other", "b"), Some("b"), Outcome::BaseMismatch),
        (Update::new(revision("b"), UpdateKind::Current).into(), Some("b"), Outcome::BaseMismatch),
        (v1::Update { sha256: "short".into(), ..full("b") }, Some("b"), Outcome::Malformed),
        (v1::Update { revision: "../../x".into(), ..full("b") }, None, Outcome::Malformed),
        (v1::Update::default(), None, Outcome::Malformed),
    ];
    for (update, name, outcome) in refusals {
        let ack = session.ask(update).await;
        assert_eq!((ack.revision, ack.outcome), (name.map(revision), outcome));
        assert_ne!(ack.error, "");
    }
    assert_eq!(nft.runs(), 1);
    session.apply(delta("a", "b")).await;
    assert_eq!(nft.runs(), 2);
    agent.stop().await;
}

#[tokio::test]
async fn failures_of_nft_are_told_apart() {
    for (behaviour, limit, outcome, error) in [
        (Behaviour::Fail, NEVER, Outcome::NftFailed, "exit 1: /dev/stdin:1:1-3: Error: on purpose"),
        (Behaviour::Die, NEVER, Outcome::NftKilled, "killed by signal 11"),
        (Behaviour::Hang, Duration::from_millis(500), Outcome::NftTimedOut, "killed after 500ms"),
    ] {
        let mut compiler = FakeCompiler::start().await;
        let nft = FakeNft::new();
        let program = nft.command().parse().unwrap();
        let agent = Agent::start(Config { nft: Nft::new(program, limit), ..config(&compiler, "nft") });
        let mut session = compiler.session().await;
        nft.behave(behaviour);
        let ack = session.ask(full("a")).await;
        assert_eq!((ack.revision, ack.outcome), (Some(revision("a")), outcome));
        assert!(ack.error.starts_with(error), "{}", ack.error);
        agent.stop().await;
    }
}

#[tokio::test]
async fn a_missing_nft_is_told_apart() {
    let missing = Nft::new("/nonexistent/nft".parse().unwrap(), NEVER);
    let (_compiler, _nft, agent, mut session) = start(|config| config.nft = missing).await;
    assert_eq!(session.hello.nft_version, "");
    let ack = session.ask(full("a")).await;
    assert_eq!(ack.outcome, Outcome::NftMissing);
    assert!(ack.error.contains("/nonexistent/nft"), "{}", ack.error);
    agent.stop().await;
}

#[tokio::test]
async fn an_nft_that_dies_after_its_commit_has_applied() {
    let (_compiler, nft, agent, mut session) = start(|_| ()).await;
    nft.behave(Behaviour::CommitAndDie);
    session.apply(full("a")).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_script_that_nft_refuses_is_tried_again() {
    let (_compiler, nft, agent, mut session) = start(|_| ()).await;
    nft.behave(Behaviour::Fail);
    assert_eq!(session.ask(full("a")).await.outcome, Outcome::NftFailed);
    nft.behave(Behaviour::Take);
    let retried = session.ack().await;
    assert_eq!((retried.revision, retried.outcome), (Some(revision("a")), Outcome::Applied));
    assert_eq!(nft.runs(), 2);
    agent.stop().await;
}

#[tokio::test]
async fn what_nft_refuses_twice_is_left_where_something_stands() {
    let (_compiler, nft, agent, mut session) = start(|_| ()).await;
    session.apply(full("a")).await;
    nft.behave(Behaviour::Fail);
    assert_eq!(session.ask(full("b")).await.outcome, Outcome::NftFailed);
    assert_eq!(session.ack().await.outcome, Outcome::NftFailed, "the agent's own attempt");
    let runs = nft.runs();
    nft.behave(Behaviour::Take);
    // Longer than its pauses were.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!((nft.runs(), nft.holds(&revision("a"))), (runs, true));
    session.apply(full("c")).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_newer_update_ends_the_attempts() {
    let (_compiler, nft, agent, mut session) =
        start(|config| config.check_interval = Duration::from_millis(100)).await;
    nft.behave(Behaviour::Fail);
    assert_eq!(session.ask(full("a")).await.outcome, Outcome::NftFailed);
    nft.behave(Behaviour::Take);
    session.apply(full("b")).await;
    nft.lose(&revision("b"));
    let repaired = session.ack().await;
    assert_eq!((repaired.revision, repaired.outcome), (Some(revision("b")), Outcome::Applied));
    assert_eq!(nft.run(nft.runs() - 1), script("b").bytes().to_vec());
    agent.stop().await;
}

#[tokio::test]
async fn the_table_is_brought_back_without_a_compiler() {
    let (compiler, nft, agent, mut session) =
        start(|config| config.check_interval = Duration::from_millis(100)).await;
    session.apply(full("a")).await;
    compiler.stop().await;
    drop(session);
    nft.lose(&revision("a"));
    patiently(async {
        while !nft.holds(&revision("a")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(nft.run(1), script("a").bytes().to_vec());
    agent.stop().await;
}

#[tokio::test]
async fn a_lost_table_that_deltas_led_to_is_brought_back_at_once() {
    let (_compiler, nft, agent, mut session) =
        start(|config| config.check_interval = Duration::from_millis(100)).await;
    session.apply(full("a")).await;
    session.apply(delta("a", "b")).await;
    session.apply(delta("b", "c")).await;
    nft.lose(&revision("c"));
    let repaired = session.ack().await;
    assert_eq!((repaired.revision, repaired.outcome), (Some(revision("c")), Outcome::Applied));
    let whole = ["a", "b", "c"].map(|name| script(name).bytes().to_vec()).concat();
    assert_eq!((nft.runs(), nft.run(3)), (4, whole));
    agent.stop().await;
}

#[tokio::test]
async fn a_table_that_nft_does_not_bring_back_is_asked_for() {
    let (mut compiler, nft, agent, mut session) =
        start(|config| config.check_interval = Duration::from_millis(100)).await;
    session.apply(at("7", full("a"))).await;
    session.apply(at("8", delta("a", "b"))).await;
    nft.behave(Behaviour::Fail);
    nft.lose(&revision("b"));
    let mut session = compiler.session().await;
    assert_eq!(session.hello.applied, None);
    assert_eq!(session.hello.position, Position::new(b"8").unwrap(), "what was known stays known");
    nft.behave(Behaviour::Take);
    // The agent goes on by itself, too.
    while session.ask(full("c")).await.revision != Some(revision("c")) {}
    assert!(nft.holds(&revision("c")));
    agent.stop().await;
}

#[tokio::test]
async fn a_delta_that_nft_refuses_is_left_to_the_compiler() {
    let (_compiler, nft, agent, mut session) = start(|_| ()).await;
    session.apply(full("a")).await;
    nft.behave(Behaviour::Fail);
    let refused = session.ask(delta("a", "b")).await;
    assert_eq!((refused.revision, refused.outcome), (Some(revision("b")), Outcome::NftFailed));
    nft.behave(Behaviour::Take);
    session.apply(full("c")).await;
    assert_eq!((nft.runs(), nft.holds(&revision("c"))), (3, true));
    agent.stop().await;
}

#[tokio::test]
async fn a_delta_whose_base_is_gone_brings_the_base_back() {
    let (_compiler, nft, agent, mut session) = start(|_| ()).await;
    session.apply(full("a")).await;
    nft.lose(&revision("a"));
    nft.behave(Behaviour::FailOnce);
    assert_eq!(session.ask(delta("a", "b")).await.outcome, Outcome::NftFailed);
    let repaired = session.ack().await;
    assert_eq!((repaired.revision, repaired.outcome), (Some(revision("a")), Outcome::Applied));
    session.apply(delta("a", "b")).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_delta_is_tried_once_more_if_nft_died() {
    let (_compiler, nft, agent, mut session) = start(|_| ()).await;
    session.apply(full("a")).await;
    nft.behave(Behaviour::DieOnce);
    session.apply(delta("a", "b")).await;
    assert_eq!(nft.runs(), 3);

    nft.behave(Behaviour::Die);
    assert_eq!(session.ask(delta("b", "c")).await.outcome, Outcome::NftKilled);
    assert_eq!(nft.runs(), 5, "once more, and not again");
    agent.stop().await;
}

#[tokio::test]
async fn the_position_is_handed_on() {
    let (mut compiler, _nft, agent, mut session) = start(|_| ()).await;
    assert!(session.hello.position.is_unknown());
    session.apply(at("7", full("a"))).await;
    session.apply(at("8", delta("a", "b"))).await;
    drop(session);
    let session = compiler.session().await;
    let known = (session.hello.applied.clone(), session.hello.position.clone());
    assert_eq!(known, (Some(revision("b")), Position::new(b"8").unwrap()));
    agent.stop().await;
}

#[tokio::test]
async fn replicas_are_called_in_turn() {
    let mut other = FakeCompiler::start().await;
    let second = other.url().parse().unwrap();
    let gone = "http://127.0.0.1:1".parse().unwrap();
    let (mut first, _nft, agent, mut session) = start(|config| config.compilers.extend([gone, second])).await;
    session.apply(full("a")).await;
    session.fail().await;
    session = other.session().await;
    assert_eq!(session.hello.applied, Some(revision("a")));
    session.fail().await;
    session = first.session().await;
    assert_eq!(session.hello.applied, Some(revision("a")));
    agent.stop().await;
}

#[tokio::test]
async fn a_lost_compiler_is_found_again_and_told_what_stands() {
    let (mut compiler, nft, agent, mut session) = start(|_| ()).await;
    session.apply(full("a")).await;
    drop(session);
    let session = compiler.session().await;
    assert_eq!(session.hello.applied, Some(revision("a")), "after a closed stream");
    session.fail().await;
    let session = compiler.session().await;
    assert_eq!(session.hello.applied, Some(revision("a")), "after an error");

    let address = compiler.address;
    compiler.stop().await;
    drop(session);
    let mut compiler = FakeCompiler::start_at(address).await;
    let mut session = compiler.session().await;
    assert_eq!(session.hello.applied, Some(revision("a")), "after a restart");
    let current = Update::new(revision("a"), UpdateKind::Current);
    assert_eq!(session.ask(current.into()).await.outcome, Outcome::Unchanged);
    assert_eq!(nft.runs(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_large_script_passes() {
    let (_compiler, nft, agent, mut session) = start(|_| ()).await;
    let script = large("a", 8 << 20);
    let kind = UpdateKind::Full(script.clone());
    session.apply(Update::new(revision("a"), kind).into()).await;
    assert!(nft.run(0) == script.bytes()[..], "{} bytes arrived", nft.run(0).len());
    agent.stop().await;
}

#[tokio::test]
async fn stopping_waits_for_nft() {
    let (_compiler, nft, agent, session) = start(|_| ()).await;
    nft.behave(Behaviour::Dawdle);
    session.send(full("a")).await;
    patiently(async {
        while nft.runs() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    agent.stop().await;
    assert!(nft.holds(&revision("a")));
}

#[tokio::test]
async fn once_ends_after_one_update() {
    let (_compiler, nft, agent, mut session) = start(|config| config.until = Until::FirstUpdate).await;
    session.apply(full("a")).await;
    session.end().await;
    drop(session);
    assert_eq!(agent.end().await, Ok(()));
    assert_eq!(nft.runs(), 1);
}

#[tokio::test]
async fn once_reports_a_failure_to_both_sides() {
    let (_compiler, nft, agent, mut session) = start(|config| config.until = Until::FirstUpdate).await;
    nft.behave(Behaviour::Fail);
    assert_eq!(session.ask(full("a")).await.outcome, Outcome::NftFailed);
    drop(session);
    assert!(matches!(agent.end().await, Err(RunError::NotApplied { outcome: Outcome::NftFailed, .. })));
}

#[tokio::test]
async fn once_reports_a_refusal_to_both_sides() {
    let (_compiler, nft, agent, mut session) = start(|config| config.until = Until::FirstUpdate).await;
    assert_eq!(session.ask(v1::Update::default()).await.outcome, Outcome::Malformed);
    assert!(matches!(agent.end().await, Err(RunError::NotApplied { outcome: Outcome::Malformed, .. })));
    assert_eq!(nft.runs(), 0);
}

#[tokio::test]
async fn once_stopped_early_has_not_done_its_work() {
    let (_compiler, _nft, agent, _session) = start(|config| config.until = Until::FirstUpdate).await;
    agent.stop.send_replace(true);
    assert_eq!(agent.end().await, Err(RunError::NoUpdate));
}
