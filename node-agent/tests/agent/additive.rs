//! Deltas that delete nothing, with the real nft: what they leave behind is known to whoever comes next, and brings no
//! table back wrongly.

use std::time::Duration;

use flock_proto::{Outcome, Update, UpdateKind, v1};
use flock_shared::marker::leaving;
use flock_shared::{MARKER_PREFIX, PAST_PREFIX, SUPERSEDED_LIMIT, Script, Superseded};
use rustix::process::Signal;

use crate::kernel::Namespace;
use crate::stage::{Stage, until};
use crate::updates::revision;

/// A set that gains and loses members.
const MEMBERS: &str = "pods4_000000000000000000000000000000aa";

fn superseded(names: &[&str]) -> Superseded {
    Superseded::new(names.iter().copied().map(revision).collect()).unwrap()
}

fn mark(name: &str) -> String {
    format!("add set inet flock_netpol {MARKER_PREFIX}{} {{ typeof ip saddr; }}\n", revision(name))
}

fn update(base: &str, name: &str, script: String, left: &[&str]) -> v1::Update {
    let kind = UpdateKind::Delta { base: revision(base), script: Script::new(script) };
    Update::new(revision(name), kind).leaving(superseded(left)).into()
}

/// A member more; these are left behind.
fn adds(base: &str, name: &str, member: u8, left: &[&str]) -> v1::Update {
    let elements = format!("\t\ttypeof ip saddr\n\t\telements = {{\n\t\t\t10.0.9.{member}\n\t\t}}");
    let member = format!("table inet flock_netpol {{\n\tset {MEMBERS} {{\n{elements}\n\t}}\n}}\n");
    update(base, name, format!("{member}{}{}", leaving(&revision(base)), mark(name)), left)
}

/// A delta that deletes, and takes these with it.
fn sweeps(base: &str, name: &str, left: &[&str]) -> v1::Update {
    let mut script = format!("delete element inet flock_netpol {MEMBERS} {{ 10.0.9.1 }}\n");
    for name in left {
        let old = revision(name);
        for (verb, kind, prefix) in [("add", "chain", PAST_PREFIX), ("delete", "chain", PAST_PREFIX)] {
            script.push_str(&format!("{verb} {kind} inet flock_netpol {prefix}{old}\n"));
        }
        script.push_str(&mark(name));
        script.push_str(&format!("delete set inet flock_netpol {MARKER_PREFIX}{old}\n"));
    }
    script.push_str(&format!("delete set inet flock_netpol {MARKER_PREFIX}{}\n", revision(base)));
    update(base, name, script + &mark(name), &[])
}

fn count(namespace: &Namespace, prefix: &str) -> usize {
    namespace
        .table()
        .lines()
        .filter(|line| line.contains(&format!(" {prefix}")) && line.ends_with('{'))
        .count()
}

impl Stage {
    /// Goes on from the state 1 twice, by deltas that delete nothing.
    async fn go_on(&mut self) {
        self.session.apply(adds("1", "x", 1, &["1"])).await;
        self.session.apply(adds("x", "y", 2, &["1", "x"])).await;
        self.table = self.namespace.table();
    }

    /// The next agent finds no table and makes the same one, in one transaction.
    async fn boot_without_a_table(&mut self) {
        let lose = |namespace: &Namespace| assert!(namespace.succeeds("delete table inet flock_netpol"));
        self.restart(Signal::TERM, lose).await;
        assert_eq!(self.namespace.table(), self.table);
    }

    /// The compiler ends the stream, and the agent opens another one.
    async fn reconnect(&mut self) {
        self.session.fail().await;
        self.session = self.compiler.session().await;
    }
}

#[tokio::test]
async fn what_is_left_behind_is_told_to_the_next_compiler_and_survives_restarts() {
    let Some(mut stage) = Stage::new("left").await else { return };
    assert_eq!(stage.session.hello.superseded, superseded(&[]));
    stage.go_on().await;
    assert_eq!((count(&stage.namespace, PAST_PREFIX), count(&stage.namespace, MARKER_PREFIX)), (2, 3));

    stage.reconnect().await;
    assert_eq!(stage.session.hello.superseded, superseded(&["1", "x"]));
    stage.boot_without_a_table().await;
    assert_eq!(stage.session.hello.applied, Some(revision("y")));
    assert_eq!(stage.session.hello.superseded, superseded(&["1", "x"]));

    stage.session.apply(sweeps("y", "1", &["1", "x"])).await;
    assert_eq!((count(&stage.namespace, PAST_PREFIX), count(&stage.namespace, MARKER_PREFIX)), (0, 1));
    stage.session.apply(adds("1", "x", 3, &["1"])).await;
    stage.table = stage.namespace.table();
    // States that came back are among what makes it.
    stage.boot_without_a_table().await;
    assert_eq!(stage.session.hello.superseded, superseded(&["1"]));
    stage.stop().await;
}

#[tokio::test]
async fn asking_whether_it_stands_disturbs_nobody() {
    let Some(mut stage) = Stage::new("asks").await else { return };
    stage.change("--check-interval", "0.05");
    stage.restart(Signal::TERM, |_| ()).await;
    let members: Vec<String> = (1..=SUPERSEDED_LIMIT).map(|member| format!("m{member}")).collect();
    let (mut base, mut left) = ("1", Vec::new());
    for (member, name) in (1..).zip(&members) {
        left.push(base);
        stage.session.apply(adds(base, name, member, &left)).await;
        base = name;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let standing = Update::new(revision(base), UpdateKind::Current);
    let ack = stage.session.ask(standing.into()).await;
    assert_eq!((ack.outcome, ack.drifts), (Outcome::Unchanged, 0));
    let log = stage.stop().await;
    assert!(log.contains("are listened for") && !log.contains("repair"), "{log}");
}

#[tokio::test]
async fn a_full_script_for_which_nft_is_not_run_forgets_nothing() {
    let Some(mut stage) = Stage::new("forgets").await else { return };
    stage.go_on().await;
    let script = format!(
        "add table inet flock_netpol\ndelete table inet flock_netpol\nadd table inet flock_netpol\n{}",
        mark("y")
    );
    let standing = Update::new(revision("y"), UpdateKind::Full(Script::new(script)));
    assert_eq!(stage.session.ask(standing.into()).await.outcome, Outcome::Unchanged);
    stage.reconnect().await;
    assert_eq!(stage.session.hello.superseded, superseded(&["1", "x"]));
    stage.restart(Signal::TERM, |_| ()).await;
    assert_eq!(stage.session.hello.applied, Some(revision("y")));
    assert_eq!(stage.session.hello.superseded, superseded(&["1", "x"]));
    stage.stop().await;
}

#[tokio::test]
async fn a_base_that_was_left_is_refused_and_what_stands_stays() {
    let Some(namespace) = Namespace::new("gone-on") else { return };
    let nft = namespace.secluded_nft();
    let Some(mut stage) = Stage::with(namespace, Some(nft)).await else { return };
    // Nobody hears it.
    let script = adds("1", "other", 1, &["1"]).script;
    stage.edit(std::str::from_utf8(&script).unwrap());
    for update in [adds("1", "x", 1, &["1"]), sweeps("1", "x", &[])] {
        let ack = stage.session.ask(update).await;
        assert_eq!(ack.outcome, Outcome::NftFailed);
        stage.repaired(ack.drifts + 1).await;
        stage.edit(std::str::from_utf8(&script).unwrap());
    }
    stage.stop().await;
}

/// A table that went on from what the agent applied has that marker still.
#[tokio::test]
async fn an_nft_that_outlives_its_agent_unheard_and_only_adds_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (trigger, done) = (folder.path().join("trigger"), folder.path().join("done"));
    let Some(namespace) = Namespace::new("unheard-adds") else { return };
    // Of what comes in place of nft nothing is run, so nobody listens.
    let nft = format!(
        "sh -c 'rm {trigger} 2> /dev/null && now=1; test -z \"$now\" || sleep 2; ip netns exec {name} nft \"$@\"; end=$?; \
         test -z \"$now\" || touch {done}; exit $end' nft",
        trigger = trigger.display(),
        done = done.display(),
        name = namespace.name()
    );
    let Some(mut stage) = Stage::with(namespace, Some(nft)).await else { return };
    stage.change("--check-interval", "0.2");
    std::fs::write(&trigger, "").unwrap();
    stage.session.send(adds("1", "late", 1, &["1"])).await;
    until(|| !trigger.exists()).await;
    stage.restart(Signal::KILL, |_| ()).await;
    assert_eq!(stage.namespace.table(), stage.table);
    stage.repaired(1).await;
    assert!(done.exists());
    // The next one is not refused for what the late one did.
    stage.session.apply(adds("1", "x", 1, &["1"])).await;
    stage.stop().await;
}

/// An nft that dies after the commit: the marker of its state is asked for, and not one that was left behind.
#[tokio::test]
async fn a_state_that_comes_back_is_not_taken_for_one_that_stands() {
    let folder = tempfile::tempdir().unwrap();
    let trigger = folder.path().join("trigger");
    let Some(namespace) = Namespace::new("comes-back") else { return };
    let nft = crate::drift::around(&namespace, &trigger, "kill -KILL $$", "true");
    let Some(mut stage) = Stage::with(namespace, Some(nft)).await else { return };
    stage.go_on().await;
    std::fs::write(&trigger, "").unwrap();
    // Its first nft dies before it has read anything; the marker of x is there from before.
    stage.session.apply(sweeps("y", "x", &["1", "x"])).await;
    assert!(!trigger.exists());
    assert_eq!((count(&stage.namespace, PAST_PREFIX), count(&stage.namespace, MARKER_PREFIX)), (0, 1));
    stage.stop().await;
}
