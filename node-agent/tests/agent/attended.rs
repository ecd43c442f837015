//! A table that asks whether a compiler attends to the node, in the kernel's nft: it is told so as long as that is true.

use std::time::Duration;

use flock_nft::attended;
use flock_nft::read::GRAMMAR;
use flock_node_agent::attendance::AGAIN;
use flock_node_agent::nft::Nft;
use flock_proto::{Outcome, Update, UpdateKind, v1};
use flock_shared::Script;
use flock_testkit::compiler::Session;
use rustix::process::Signal;

use crate::kernel::Namespace;
use crate::stage::{Stage, until};
use crate::stream::start;
use crate::survival::{called, leap};
use crate::updates::{revision, script};

/// A table that asks.
fn asking(name: &str) -> v1::Update {
    let set = "{\n\tset attended {\n\t\ttypeof meta nfproto\n\t\tflags timeout\n\t}\n}\n";
    let text = String::from_utf8(script(name).bytes().to_vec()).unwrap().replacen("{\n}\n", set, 1);
    Update::new(revision(name), UpdateKind::Full(Script::new(text))).into()
}

fn current(name: &str) -> v1::Update {
    Update::new(revision(name), UpdateKind::Current).into()
}

/// For how many seconds more each family is attended to, by the kernel's own clock.
fn left(namespace: &Namespace) -> Vec<u64> {
    let listed = namespace.list("list set inet flock_netpol attended");
    let expires = listed.split("expires ").skip(1);
    // Such as 29s988ms, or 988ms.
    let seconds = |text: &str| match text.split_once('s') {
        Some((before, _)) if !before.ends_with('m') => before.parse().unwrap(),
        _ => 0,
    };
    expires.map(seconds).collect()
}

fn is_attended(namespace: &Namespace) -> bool {
    left(namespace).len() == 2
}

async fn drifts(session: &mut Session, name: &str) -> u32 {
    let ack = session.ask(current(name)).await;
    assert_eq!(ack.outcome, Outcome::Unchanged, "{}", ack.error);
    ack.drifts
}

#[tokio::test]
async fn it_is_told_again_and_again_while_the_compiler_is_there() {
    let Some(namespace) = Namespace::new("attended") else { return };
    let nft = Nft::new(namespace.nft().parse().unwrap(), Duration::from_secs(3600));
    let (mut compiler, _fake, agent, mut session) = start(|config| config.nft = nft).await;
    session.apply(asking("a")).await;
    until(|| is_attended(&namespace)).await;
    for _ in 0..3 {
        // A second must pass for the kernel, so that one can see that it begins anew.
        until(|| left(&namespace).iter().all(|seconds| *seconds < 29)).await;
        leap(AGAIN).await;
        until(|| left(&namespace) == [29, 29]).await;
    }
    assert_eq!(drifts(&mut session, "a").await, 0);

    // Another table knows nothing, and is told.
    session.apply(asking("b")).await;
    until(|| is_attended(&namespace)).await;

    // What is refused may be about somebody who is on the way.
    let refused = Update::new(revision("c"), UpdateKind::Full(Script::new("flush ruleset\n")));
    assert_eq!(session.ask(refused.into()).await.outcome, Outcome::Malformed);
    until(|| !is_attended(&namespace)).await;
    assert_eq!(drifts(&mut session, "b").await, 0);
    until(|| is_attended(&namespace)).await;

    // Without a stream nobody attends, and on a new one only once the compiler has said what the node should have.
    session.fail().await;
    until(|| !is_attended(&namespace)).await;
    session = called(&mut compiler).await;
    assert_eq!((session.hello.grammar, session.hello.cni), (GRAMMAR, false));
    assert!(!is_attended(&namespace));
    assert_eq!(drifts(&mut session, "b").await, 0);
    until(|| is_attended(&namespace)).await;
    agent.stop().await;
    assert!(!is_attended(&namespace), "nobody is there to tell it again");
}

#[tokio::test]
async fn what_it_is_told_is_no_edit_and_what_others_tell_it_is_one() {
    let Some(mut stage) = Stage::new("attended-edit").await else { return };
    stage.session.apply(asking("a")).await;
    until(|| is_attended(&stage.namespace)).await;
    // Each end and beginning of a stream is told; so is the kernel's work, which nobody hears of.
    for _ in 0..3 {
        stage.session.fail().await;
        until(|| !is_attended(&stage.namespace)).await;
        stage.session = stage.compiler.session().await;
        assert_eq!(drifts(&mut stage.session, "a").await, 0);
        until(|| is_attended(&stage.namespace)).await;
    }
    for count in 1..=2 {
        stage.edit("flush set inet flock_netpol attended\n");
        let ack = stage.session.ack().await;
        assert_eq!((ack.outcome, ack.drifts), (Outcome::Applied, count), "{}", ack.error);
        until(|| is_attended(&stage.namespace)).await;
    }
    assert_eq!(drifts(&mut stage.session, "a").await, 2);
    let log = stage.stop().await;
    assert!(!log.contains("not listened for"), "{log}");
}

#[tokio::test]
async fn an_agent_that_was_killed_is_believed_for_half_a_minute_and_the_next_one_begins_with_nothing() {
    let Some(mut stage) = Stage::new("attended-kill").await else { return };
    stage.session.apply(asking("a")).await;
    until(|| is_attended(&stage.namespace)).await;
    stage.saved("a").await;
    stage
        .restart(Signal::KILL, |namespace| {
            assert!(left(namespace).iter().all(|seconds| *seconds < 30), "until then");
        })
        .await;
    assert!(!is_attended(&stage.namespace), "the table was put in place as it is kept");
    let ack = stage.session.ask(current("a")).await;
    assert_eq!(ack.outcome, Outcome::Unchanged, "{}", ack.error);
    until(|| is_attended(&stage.namespace)).await;
    stage.stop().await;
}

#[test]
fn what_is_told_wears_off_and_begins_anew_whenever_it_is_told() {
    let Some(namespace) = Namespace::new("attended-time") else { return };
    namespace.apply(std::str::from_utf8(&asking("a").script).unwrap());
    namespace.apply(&attended::attend(Duration::from_secs(1)));
    assert!(is_attended(&namespace));
    for _ in 0..200 {
        if left(&namespace).is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(left(&namespace).is_empty(), "nobody takes it out but the kernel");
    // Where it is gone, where it is there with less time, and where it is there with more.
    for seconds in [20, 40, 30] {
        namespace.apply(&attended::attend(Duration::from_secs(seconds)));
        assert_eq!(left(&namespace), [seconds - 1, seconds - 1]);
    }
    namespace.apply(&attended::leave());
    assert!(left(&namespace).is_empty());
    namespace.apply(&attended::leave());
    assert!(namespace.succeeds("delete table inet flock_netpol"));
    assert!(!namespace.takes(&attended::attend(Duration::from_secs(1))), "no set is made where none asks");
    assert!(!namespace.succeeds("list table inet flock_netpol"));
}
