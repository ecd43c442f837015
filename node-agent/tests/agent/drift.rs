//! Others edit the table in the kernel: it is noticed, put right and counted, and nobody else's tables are minded.
//!
//! The interval of the check for the marker is long here: none of this is found by it.

use std::path::Path;

use flock_proto::{Outcome, Update, UpdateKind};

use crate::kernel::Namespace;
use crate::kernel_deltas::delta;
use crate::process::{agent, end};
use crate::stage::Stage;
use crate::updates::revision;

/// What others may do to the table, each of which closes or opens something.
pub(crate) const EDITS: [&str; 13] = [
    "delete table inet flock_netpol",
    "flush table inet flock_netpol",
    "flush set inet flock_netpol pods4_0000000000000000aaaaaaaaaaaaaaaa",
    "add element inet flock_netpol pods4_0000000000000000aaaaaaaaaaaaaaaa { 10.66.0.1 }",
    "add element inet flock_netpol blocks4_0000000000000000aaaaaaaaaaaaaaaa { 10.66.0.0/16 }",
    "delete element inet flock_netpol pods4_0000000000000000aaaaaaaaaaaaaaaa { 10.0.0.2 }",
    "delete element inet flock_netpol ingress4 { 10.0.0.1 }",
    "insert rule inet flock_netpol ingress_denied accept",
    "flush chain inet flock_netpol ingress_denied",
    "add table inet flock_netpol { flags dormant; }",
    "add chain inet flock_netpol ingress { policy accept; }",
    "add set inet flock_netpol another { typeof ip saddr; }",
    "delete table inet flock_netpol\nadd table inet other\nadd table inet flock_netpol",
];

#[tokio::test]
async fn every_edit_is_put_right_and_counted() {
    for edit in EDITS {
        let Some(mut stage) = Stage::new("edit").await else { return };
        stage.edit(edit);
        stage.repaired(1).await;
        assert_eq!(stage.drifts().await, 1);
        let log = stage.stop().await;
        assert!(log.contains("are listened for") && !log.contains("not listened for"), "{log}");
    }
}

#[tokio::test]
async fn a_deleted_rule_and_what_comes_right_after_a_repair_are_put_right() {
    let Some(mut stage) = Stage::new("rule").await else { return };
    let listed = stage.namespace.list("-a list chain inet flock_netpol ingress_denied");
    let (_, handle) = listed.split_once("counter").unwrap().1.split_once("# handle ").unwrap();
    let handle = handle.lines().next().unwrap();
    stage.edit(&format!("delete rule inet flock_netpol ingress_denied handle {handle}"));
    stage.repaired(1).await;
    for drifts in 2..4 {
        stage.edit(EDITS[1]);
        stage.repaired(drifts).await;
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_table_that_is_taken_away_again_and_again_is_brought_back_each_time() {
    let Some(mut stage) = Stage::new("again").await else { return };
    // Pauses would soon be longer than anything here is waited for.
    for drifts in 1..=20 {
        stage.edit("flush ruleset");
        stage.repaired(drifts).await;
    }
    stage.stop().await;
}

#[tokio::test]
async fn uninstalling_without_the_folder_of_an_agent_is_told_by_the_table_that_comes_back() {
    let Some(mut stage) = Stage::new("uninstall").await else { return };
    let nft = stage.namespace.nft();
    let uninstalling = end(agent(&["--uninstall", "--nft", &nft]).spawn().unwrap());
    let (output, ()) = tokio::join!(uninstalling, stage.repaired(1));
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("it has put table inet flock_netpol back; stop it first"), "{told}");
    stage.stop().await;
}

#[tokio::test]
async fn the_own_changes_are_no_drift_and_nothing_is_repaired() {
    let Some(mut stage) = Stage::new("own").await else { return };
    for state in 2..=5 {
        stage.session.apply(delta(state)).await;
    }
    // So large that it is not listened to.
    let kind = UpdateKind::Full(crate::updates::large("1", 1 << 20));
    stage.session.apply(Update::new(revision("1"), kind).into()).await;
    assert_eq!(stage.drifts().await, 0);
    stage.stop().await;
}

#[tokio::test]
async fn churn_in_other_tables_is_nothing_to_the_agent() {
    let Some(mut stage) = Stage::new("churn").await else { return };
    let table = stage.namespace.list("-a list table inet flock_netpol");
    let mut churn = String::from("add table ip kube-proxy\nadd set ip kube-proxy s { type ipv4_addr; }\n");
    for number in 0..2000 {
        let address = format!("10.7.{}.{}", number / 250, number % 250);
        churn.push_str(&format!("add element ip kube-proxy s {{ {address} }}\n"));
    }
    stage.namespace.apply_each(&churn).await;
    stage.namespace.apply(&churn);
    stage.edit(
        "add table ip flock_netpol\nadd table inet flock_netpol2\nadd chain inet flock_netpol2 flock_netpol",
    );
    stage.edit("flush table ip flock_netpol\ndelete table inet flock_netpol2\nflush set ip kube-proxy s");
    assert_eq!(stage.namespace.list("-a list table inet flock_netpol"), table, "it is the same table");
    // By now the agent has heard all of it.
    stage.session.apply(delta(2)).await;
    assert_eq!(stage.session.ask(delta(2)).await.drifts, 0);
    stage.stop().await;
}

/// Runs nft in the namespace; around the script after `trigger` was made it does what is said.
pub(crate) fn around(namespace: &Namespace, trigger: &Path, before: &str, after: &str) -> String {
    let (name, trigger) = (namespace.name(), trigger.display());
    format!(
        "ip netns exec {name} sh -c 'rm {trigger} 2> /dev/null && now=1; test -z \"$now\" || {{ {before}; }}; \"$@\"; end=$?; \
         test -z \"$now\" || {{ {after}; }}; exit $end' wrapper nft"
    )
}

#[tokio::test]
async fn edits_while_the_own_nft_runs_are_noticed() {
    let edit = "nft insert rule inet flock_netpol ingress_denied accept";
    for (before, after) in [(edit, "true"), ("true", edit), (edit, edit)] {
        let Some(namespace) = Namespace::new("meanwhile") else { return };
        let folder = tempfile::tempdir().unwrap();
        let trigger = folder.path().join("trigger");
        let nft = around(&namespace, &trigger, before, after);
        let Some(mut stage) = Stage::with(namespace, Some(nft)).await else { return };
        stage.session.apply(delta(2)).await;
        let table = stage.namespace.table();
        std::fs::write(&trigger, "").unwrap();
        // A delta that deletes and adds leaves the foreign rule where it is.
        let ack = stage.session.ask(delta(3)).await;
        assert_eq!((ack.outcome, ack.drifts), (Outcome::Applied, 1), "{}", ack.error);
        let repaired = stage.session.ack().await;
        assert_eq!((repaired.revision, repaired.drifts), (Some(revision("3")), 1));
        let listed = stage.namespace.list("list chain inet flock_netpol ingress_denied");
        assert!(!listed.contains("accept") && !table.is_empty(), "{listed}");
        stage.stop().await;
    }
}
