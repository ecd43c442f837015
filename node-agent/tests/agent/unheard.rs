//! Edits that the agent cannot hear: while it is down, when the kernel's news are lost, where it may not listen.

use std::process::{Command, Stdio};

use flock_proto::Outcome;
use rustix::process::Signal;

use crate::drift::{EDITS, around};
use crate::kernel::Namespace;
use crate::kernel_deltas::delta;
use crate::process::signal;
use crate::stage::{Stage, until};
use crate::updates::revision;

/// What opens a pod, and leaves the marker where it is.
const OPENING: &str = "insert rule inet flock_netpol ingress_denied accept";

#[tokio::test]
async fn a_table_that_was_edited_while_the_agent_was_down_is_put_right_before_the_compiler_is_called() {
    let Some(mut stage) = Stage::new("down").await else { return };
    for edit in EDITS {
        stage.restart(Signal::KILL, |namespace| namespace.apply(edit)).await;
        assert_eq!(stage.session.hello.applied, Some(revision("1")));
        assert_eq!(stage.namespace.table(), stage.table, "{edit}");
        assert_eq!(stage.drifts().await, 0, "nobody knows that it was edited");
    }
    stage.stop().await;
}

#[tokio::test]
async fn without_a_wrapper_and_without_a_compiler() {
    let Some(mut stage) = Stage::new("itself").await else { return };
    signal(&stage.child, Signal::KILL);
    stage.session.end().await;
    // In the namespace, from where no compiler can be reached.
    let mut command = Command::new("ip");
    command.args(["netns", "exec", stage.namespace.name(), env!("CARGO_BIN_EXE_flock-node-agent")]);
    stage.change("--nft", "nft");
    command.args(&stage.arguments).stdout(Stdio::null()).stderr(Stdio::null());
    stage.edit(OPENING);
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    until(|| stage.namespace.table() == stage.table).await;
    // It listens since before it has put the table right.
    stage.edit(OPENING);
    until(|| stage.namespace.table() == stage.table).await;
    child.kill().await.unwrap();
}

#[tokio::test]
async fn what_was_lost_on_the_way_is_taken_for_an_edit_after_a_while() {
    let Some(mut stage) = Stage::new("overflow").await else { return };
    signal(&stage.child, Signal::STOP);
    // News take the room of what they tell: rules that are long fill it fastest.
    let rule = format!("add rule inet other filled {}\n", "meta mark set 1 ".repeat(40));
    let flood = format!("add table inet other\nadd chain inet other filled\n{}", rule.repeat(1_000));
    for _ in 0..30 {
        if stage.namespace.drops() > 0 {
            break;
        }
        stage.namespace.apply(&flood);
    }
    // What comes now finds no room.
    stage.edit(OPENING);
    assert!(stage.namespace.drops() > 0, "the kernel had room for all of it");
    signal(&stage.child, Signal::CONT);
    stage.repaired(0).await;
    stage.edit(EDITS[1]);
    stage.repaired(1).await;
    stage.stop().await;
}

#[tokio::test]
async fn a_namespace_that_is_replaced_is_listened_to_again() {
    let Some(mut stage) = Stage::new("replaced").await else { return };
    stage.namespace.replace();
    // Its base is not there.
    assert_eq!(stage.session.ask(delta(2)).await.outcome, Outcome::NftFailed);
    stage.repaired(1).await;
    // Nobody has listened in between.
    stage.repaired(1).await;
    stage.edit(OPENING);
    stage.repaired(2).await;
    stage.stop().await;
}

#[tokio::test]
async fn where_nobody_may_listen_the_marker_is_looked_for_and_it_is_said_once() {
    let Some(namespace) = Namespace::new("refused") else { return };
    let nft = namespace.secluded_nft();
    let Some(mut stage) = Stage::with(namespace, Some(nft)).await else { return };
    stage.change("--check-interval", "0.1");
    stage.restart(Signal::TERM, |_| ()).await;
    stage.edit("delete table inet flock_netpol");
    stage.repaired(1).await;
    let log = stage.stop().await;
    assert_eq!(log.matches("not listened for").count(), 1, "{log}");
}

#[tokio::test]
async fn where_something_else_is_heard_the_marker_is_looked_for_and_it_is_said_once() {
    let Some(namespace) = Namespace::new("deaf") else { return };
    // Only nft gets into the namespace.
    let nft = format!(
        "sh -c 'test \"$1\" = nft || exec \"$@\"; exec ip netns exec {} \"$@\"' wrapper nft",
        namespace.name()
    );
    let Some(mut stage) = Stage::with(namespace, Some(nft)).await else { return };
    stage.change("--check-interval", "0.1");
    stage.restart(Signal::TERM, |_| ()).await;
    for drifts in 1..4 {
        stage.edit("delete table inet flock_netpol");
        loop {
            let ack = stage.session.ack().await;
            assert_eq!(ack.outcome, Outcome::Applied);
            if ack.drifts == drifts {
                break;
            }
        }
    }
    let log = stage.stop().await;
    assert_eq!(log.matches("not listened for").count(), 1, "{log}");
}

#[tokio::test]
async fn an_nft_that_outlives_its_agent_does_not_have_the_last_word() {
    let folder = tempfile::tempdir().unwrap();
    let (trigger, done) = (folder.path().join("trigger"), folder.path().join("done"));
    let Some(namespace) = Namespace::new("outlived") else { return };
    let nft = around(&namespace, &trigger, "sleep 2", &format!("touch {}", done.display()));
    let Some(mut stage) = Stage::with(namespace, Some(nft)).await else { return };
    std::fs::write(&trigger, "").unwrap();
    let late = crate::updates::full("late");
    stage.session.send(late).await;
    until(|| !trigger.exists()).await;
    stage.restart(Signal::KILL, |_| ()).await;
    assert_eq!(stage.namespace.table(), stage.table);
    // The script of the agent that is no more is committed now.
    stage.repaired(1).await;
    assert!(done.exists());
    stage.stop().await;
}
