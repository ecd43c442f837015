//! What goes away for a while: the compiler, nft, time. The rules stay, and everything goes on afterwards.

use std::os::unix::fs::symlink;
use std::time::Duration;

use flock_node_agent::nft::Nft;
use flock_proto::Outcome;
use flock_testkit::compiler::{FakeCompiler, Session, patiently};
use flock_testkit::within_real_time;
use rustix::process::Signal;

use crate::drift::around;
use crate::kernel::Namespace;
use crate::kernel_deltas;
use crate::stage::Stage;
use crate::stream::start;
use crate::updates::{at, delta, full, revision};

/// Lets so much of the agent's time pass at once. It goes by the monotonic clock alone.
pub(crate) async fn leap(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// The next stream of an agent that may be in a pause between two calls.
pub(crate) async fn called(compiler: &mut FakeCompiler) -> Session {
    loop {
        // The longest pause, at once. A call that is under way may be given up over it, and then the next one is made.
        leap(Duration::from_secs(30)).await;
        // A call takes place in real time: if the agent's clock went on meanwhile, an open connection that had no chance
        // to answer would be taken for a dead one.
        if let Some(session) = within_real_time(Duration::from_secs(5), compiler.session()).await {
            return session;
        }
    }
}

#[tokio::test]
async fn a_compiler_that_is_gone_for_an_hour_is_missed_by_nobody() {
    let (compiler, nft, agent, mut session) =
        start(|config| config.check_interval = Duration::from_secs(30)).await;
    session.apply(at("7", full("a"))).await;
    session.apply(at("8", delta("a", "b"))).await;
    let address = compiler.address;
    compiler.stop().await;
    drop(session);
    for minute in 0..60 {
        leap(Duration::from_secs(60)).await;
        // The calls and checks that are due by then take place in real time.
        tokio::time::sleep(Duration::from_millis(20)).await;
        if minute == 30 {
            nft.lose(&revision("b"));
            patiently(async {
                while !nft.holds(&revision("b")) {
                    leap(Duration::from_secs(1)).await;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
            .await;
        }
    }
    assert!(nft.holds(&revision("b")));
    assert_eq!(nft.runs(), 3, "what was asked for, and one repair");
    let mut compiler = FakeCompiler::start_at(address).await;
    let mut session = called(&mut compiler).await;
    let known = (session.hello.applied.clone(), session.hello.position.as_bytes().to_vec());
    assert_eq!(known, (Some(revision("b")), b"8".to_vec()));
    session.apply(delta("b", "c")).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_leap_of_a_day_changes_nothing() {
    let (_compiler, nft, agent, mut session) =
        start(|config| config.check_interval = Duration::from_secs(30)).await;
    session.apply(full("a")).await;
    for name in ["b", "c"] {
        leap(Duration::from_secs(86_400)).await;
        session.apply(full(name)).await;
    }
    assert_eq!((nft.runs(), nft.holds(&revision("c"))), (3, true));
    agent.stop().await;
}

#[tokio::test]
async fn an_nft_that_goes_missing_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nft");
    // Takes whatever it is given.
    symlink("/bin/true", &path).unwrap();
    let nft = path.to_str().unwrap().parse().unwrap();
    let (mut compiler, _nft, agent, mut session) =
        start(|config| config.nft = Nft::new(nft, Duration::from_secs(3600))).await;
    session.apply(full("a")).await;
    std::fs::remove_file(&path).unwrap();
    assert_eq!(session.ask(full("b")).await.outcome, Outcome::NftMissing);
    session.fail().await;
    session = compiler.session().await;
    assert_eq!(session.hello.applied, Some(revision("a")), "it stands");
    symlink("/bin/true", &path).unwrap();
    loop {
        let ack = session.ack().await;
        assert_eq!(ack.revision, Some(revision("b")));
        if ack.outcome == Outcome::Applied {
            break;
        }
        assert_eq!(ack.outcome, Outcome::NftMissing);
    }
    agent.stop().await;
}

#[tokio::test]
async fn an_nft_that_hangs_leaves_what_stands_and_the_next_one_goes_on() {
    for (before, after, is_committed) in [("sleep 600", "true", false), ("true", "sleep 600", true)] {
        let Some(namespace) = Namespace::new("hanging") else { return };
        let folder = tempfile::tempdir().unwrap();
        let trigger = folder.path().join("trigger");
        let nft = around(&namespace, &trigger, before, after);
        let Some(mut stage) = Stage::with(namespace, Some(nft)).await else { return };
        stage.change("--nft-timeout", "2");
        stage.restart(Signal::TERM, |_| ()).await;
        let drifts = stage.drifts().await;

        std::fs::write(&trigger, "").unwrap();
        let ack = stage.session.ask(kernel_deltas::delta(2)).await;
        assert_eq!((ack.outcome, ack.drifts), (Outcome::Applied, drifts), "{}", ack.error);

        let table = stage.namespace.table();
        std::fs::write(&trigger, "").unwrap();
        let update = kernel_deltas::full();
        let ack = stage.session.ask(update).await;
        if is_committed {
            assert_eq!(ack.outcome, Outcome::Applied, "{}", ack.error);
        } else {
            assert_eq!(ack.outcome, Outcome::NftTimedOut, "{}", ack.error);
            assert_eq!(stage.namespace.table(), table, "what stood stands");
            assert_eq!(stage.session.ack().await.outcome, Outcome::Applied);
        }
        stage.stop().await;
    }
}
