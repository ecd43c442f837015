//! Every row of the table, and what flips one into another.

use std::collections::BTreeSet;

use flock_proto::{Bridge, BridgeNf, BridgePort, PortKind};
use flock_shared::ScriptHash;

use super::*;

fn revision() -> Revision {
    Revision::of(ScriptHash::of(b"a"))
}

fn failure(error: &str) -> Failure {
    Failure { revision: Some(revision()), outcome: Outcome::NftFailed, error: error.to_owned() }
}

fn facts() -> NodeFacts {
    NodeFacts { bridge_nf_v4: BridgeNf::On, bridge_nf_v6: BridgeNf::On, ..NodeFacts::default() }
}

/// An agent that has just started, with nothing saved.
fn started() -> Snapshot {
    Snapshot {
        started: Instant::now(),
        enforcement: Enforcement::default(),
        contact: Contact::Calling,
        facts: Some(facts()),
        refused: Vec::new(),
    }
}

/// The same with what was saved in place.
fn restored() -> Snapshot {
    let enforcement = Enforcement { stands: Some(revision()), ..Enforcement::default() };
    Snapshot { enforcement, ..started() }
}

/// One whose last update is applied.
fn current() -> Snapshot {
    let enforcement = Enforcement { update: Some(Ok(())), ..restored().enforcement };
    Snapshot { enforcement, contact: Contact::Open, ..restored() }
}

fn away() -> Contact {
    Contact::Away("connection refused".to_owned())
}

/// Fails unless the node is not ready at once, and says this.
fn waits_for(snapshot: &Snapshot, words: &str) {
    let readiness = snapshot.readiness(snapshot.started);
    let first = readiness.to_string().lines().next().unwrap_or_default().to_owned();
    assert!(!readiness.is_ready() && first.starts_with("not ready: "), "{first}");
    assert!(first.contains(words), "{first}");
}

fn is_ready(snapshot: &Snapshot) {
    let readiness = snapshot.readiness(snapshot.started);
    assert!(readiness.is_ready() && readiness.to_string().starts_with("ready\n"), "{readiness}");
}

#[test]
fn nothing_is_in_force_before_the_first_update() {
    waits_for(&started(), "no compiler has sent anything (being called)");
    waits_for(&Snapshot { contact: away(), ..started() }, "(away: connection refused)");
    waits_for(&Snapshot { contact: Contact::Open, ..started() }, "(connected)");
    let much_later = started().started + Duration::from_secs(3600);
    assert!(!started().readiness(much_later).is_ready(), "time alone puts nothing in force");
}

#[test]
fn what_the_compiler_sent_last_decides() {
    is_ready(&current());
    let with = |change: fn(&mut Enforcement)| {
        let mut snapshot = current();
        change(&mut snapshot.enforcement);
        snapshot
    };
    waits_for(&with(|it| it.update = Some(Err(failure("on purpose")))), "not applied: ");
    waits_for(&with(|it| it.update = Some(Err(failure("on purpose")))), "on purpose");
    waits_for(&with(|it| it.stands = None), "the table is gone");
    waits_for(
        &with(|it| {
            it.stands = None;
            it.repair = Some(failure("no memory"));
        }),
        "no memory",
    );
    waits_for(&with(|it| it.is_closed = true), "closed form");
}

#[test]
fn a_compiler_that_goes_away_changes_nothing() {
    for contact in [away(), Contact::Calling, Contact::Refused("PermissionDenied".to_owned())] {
        let gone = Snapshot { contact: contact.clone(), ..current() };
        is_ready(&gone);
        assert!(gone.readiness(gone.started).to_string().contains(&format!("\ncompiler: {contact}\n")));
    }
}

#[test]
fn what_was_saved_is_enough_only_while_no_compiler_answers() {
    is_ready(&Snapshot { contact: away(), ..restored() });
    for contact in [Contact::Calling, Contact::Open] {
        let asked = Snapshot { contact, ..restored() };
        waits_for(&asked, "being asked");
        let just_before = asked.started + FIRST_ANSWER - Duration::from_millis(1);
        assert!(!asked.readiness(just_before).is_ready());
        assert!(asked.readiness(asked.started + FIRST_ANSWER).is_ready(), "one that says nothing is none");
    }
    let refused = Contact::Refused("Unauthenticated: no".to_owned());
    waits_for(&Snapshot { contact: refused, ..restored() }, "refuses this agent: Unauthenticated: no");
    let mut broken = Snapshot { contact: away(), ..started() };
    broken.enforcement.repair = Some(failure("on purpose"));
    waits_for(&broken, "what was saved is not put back: ");
}

#[test]
fn a_refusal_is_remembered_until_the_compiler_serves() {
    let refused = Contact::Refused("no".to_owned());
    assert_eq!(refused.clone().then(away()), refused);
    assert_eq!(refused.clone().then(Contact::Calling), refused);
    assert_eq!(refused.clone().then(Contact::Open), Contact::Open);
    assert_eq!(away().then(refused.clone()), refused);
    assert_eq!(Contact::Open.then(away()), away());
}

#[test]
fn a_script_that_takes_long_is_told() {
    let mut busy = current();
    busy.enforcement.applying = Some(busy.started);
    is_ready(&busy);
    let readiness = busy.readiness(busy.started + SLOW + Duration::from_secs(2));
    assert_eq!(readiness.reason.as_deref(), Some("nft has been at a script for 12 s"));
}

#[test]
fn what_may_pass_unjudged_is_told_and_holds_up_nothing() {
    let bridge = |kind| Bridge {
        name: "cni0".to_owned(),
        addresses: BTreeSet::new(),
        ports: vec![BridgePort { name: "veth1".to_owned(), kind }],
    };
    let (off, absent) = (BridgeNf::Off, BridgeNf::Absent);
    let unjudged = NodeFacts {
        bridges: vec![bridge(PortKind::Veth)],
        bridge_nf_v4: off,
        bridge_nf_v6: absent,
        ipvs: true,
        flowtables: ["inet a b".to_owned()].into(),
        netkit: true,
        openvswitch: true,
        bypassed: true,
        ..facts()
    };
    let snapshot = Snapshot { facts: Some(unjudged), refused: vec!["fib".to_owned()], ..current() };
    is_ready(&snapshot);
    let text = snapshot.readiness(snapshot.started).to_string();
    for words in [
        "call-iptables is 0",
        "call-ip6tables is absent",
        "IPVS",
        "inet a b",
        "netkit",
        "vSwitch",
        "pods talk",
        ": fib",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(text.matches("may pass unjudged: ").count(), 8, "{text}");
    // A bridge without ends of pairs holds no pods.
    let other = NodeFacts { bridges: vec![bridge(PortKind::Physical)], bridge_nf_v4: off, ..facts() };
    let snapshot = Snapshot { facts: Some(other), ..current() };
    assert!(snapshot.readiness(snapshot.started).notes.is_empty());
    let blind = Snapshot { facts: None, ..current() };
    is_ready(&blind);
    assert_eq!(blind.readiness(blind.started).notes, ["the node could not be looked at"]);
}
