//! Tests of the agent's decisions.

use super::*;
use flock_shared::ScriptHash;

fn revision(name: &str) -> Revision {
    Revision::of(ScriptHash::of(name.as_bytes()))
}

fn script(name: &str) -> Script {
    Script::new(format!("add table inet {name}\n"))
}

fn full(name: &str) -> v1::Update {
    Update::new(revision(name), UpdateKind::Full(script(name))).into()
}

fn delta(base: &str, name: &str) -> v1::Update {
    let kind = UpdateKind::Delta { base: revision(base), script: script(name) };
    Update::new(revision(name), kind).into()
}

fn current(name: &str) -> v1::Update {
    Update::new(revision(name), UpdateKind::Current).into()
}

fn job(name: &str) -> Job {
    Job::full(revision(name), script(name))
}

fn applied(update: v1::Update) -> Enforcement {
    let mut enforcement = Enforcement::default();
    apply(&mut enforcement, update);
    enforcement
}

fn apply(enforcement: &mut Enforcement, update: v1::Update) {
    let Step::Run(job) = enforcement.receive(update) else { panic!("nothing to run") };
    assert_eq!(enforcement.committed(job).outcome, Outcome::Applied);
}

fn outcome(step: Step) -> Outcome {
    match step {
        Step::Answer(answer) => answer.outcome,
        Step::Run(job) => panic!("would run {job:?}"),
    }
}

fn holds(enforcement: &Enforcement) -> Option<Revision> {
    enforcement.holds().map(|standing| standing.revision.clone())
}

#[test]
fn a_full_script_runs_from_anywhere_and_once() {
    let mut enforcement = applied(full("a"));
    assert_eq!(holds(&enforcement), Some(revision("a")));
    assert_eq!(outcome(enforcement.receive(full("a"))), Outcome::Unchanged);
    assert_eq!(outcome(enforcement.receive(current("a"))), Outcome::Unchanged);
    assert_eq!(enforcement.receive(full("b")), Step::Run(job("b")));
}

#[test]
fn a_changed_byte_runs_nothing_and_names_the_revision() {
    let mut enforcement = applied(full("a"));
    let changed = v1::Update { script: "flush ruleset\n".into(), ..full("b") };
    let Step::Answer(answer) = enforcement.receive(changed) else { panic!("would run") };
    assert_eq!((answer.revision, answer.outcome), (Some(revision("b")), Outcome::HashMismatch));
    assert_eq!(holds(&enforcement), Some(revision("a")));
}

#[test]
fn a_malformed_update_is_answered_with_what_it_names() {
    let mut enforcement = Enforcement::default();
    let Step::Answer(named) = enforcement.receive(v1::Update { sha256: "x".into(), ..full("a") }) else {
        panic!("would run")
    };
    assert_eq!((named.revision, named.outcome), (Some(revision("a")), Outcome::Malformed));
    let Step::Answer(nameless) = enforcement.receive(v1::Update { revision: "x".into(), ..full("a") }) else {
        panic!("would run")
    };
    assert_eq!((nameless.revision, nameless.outcome), (None, Outcome::Malformed));
}

#[test]
fn a_delta_runs_on_its_base_only() {
    assert_eq!(outcome(Enforcement::default().receive(delta("a", "b"))), Outcome::BaseMismatch);
    let mut enforcement = applied(full("a"));
    assert_eq!(outcome(enforcement.receive(delta("b", "c"))), Outcome::BaseMismatch);
    apply(&mut enforcement, delta("a", "b"));
    assert_eq!(enforcement.holds(), Some(&Standing { revision: revision("b"), full: None }));
    assert_eq!(outcome(enforcement.receive(delta("a", "b"))), Outcome::Unchanged);
}

#[test]
fn having_it_already_must_be_true() {
    assert_eq!(outcome(applied(full("a")).receive(current("b"))), Outcome::BaseMismatch);
}

#[test]
fn what_nft_refuses_stays_due_until_a_newer_update() {
    let mut enforcement = applied(full("a"));
    let Step::Run(refused) = enforcement.receive(full("b")) else { panic!("nothing to run") };
    let answer = enforcement.failed(refused, Outcome::NftFailed, "why".into());
    assert_eq!((answer.outcome, answer.error.as_str()), (Outcome::NftFailed, "why"));
    assert_eq!((enforcement.pending(), holds(&enforcement)), (Some(job("b")), Some(revision("a"))));

    let mut changed = full("c");
    changed.script = "flush ruleset\n".into();
    assert_eq!(outcome(enforcement.receive(changed)), Outcome::HashMismatch);
    assert_eq!(enforcement.pending(), Some(job("b")), "a refused update replaces nothing");

    assert_eq!(outcome(enforcement.receive(full("a"))), Outcome::Unchanged);
    assert_eq!(enforcement.pending(), None, "the state that stands is wanted again");
}

#[test]
fn a_retry_that_succeeds_is_no_longer_due() {
    let mut enforcement = Enforcement::default();
    enforcement.failed(job("a"), Outcome::NftMissing, String::new());
    let retry = enforcement.pending().unwrap();
    enforcement.committed(retry);
    assert_eq!((enforcement.pending(), holds(&enforcement)), (None, Some(revision("a"))));
}

#[test]
fn a_lost_state_is_brought_back() {
    let mut enforcement = applied(full("a"));
    enforcement.marker_missing();
    assert_eq!((holds(&enforcement), enforcement.repair()), (None, Some(job("a"))));

    enforcement.failed(job("a"), Outcome::NftFailed, String::new());
    assert_eq!((enforcement.pending(), enforcement.repair()), (None, Some(job("a"))), "due, once");

    enforcement.committed(job("a"));
    assert_eq!((holds(&enforcement), enforcement.repair()), (Some(revision("a")), None));
}

#[test]
fn a_lost_state_is_not_unchanged() {
    let lost = || {
        let mut enforcement = applied(full("a"));
        enforcement.marker_missing();
        enforcement
    };
    assert_eq!(lost().receive(full("a")), Step::Run(job("a")));
    assert_eq!(lost().receive(current("a")), Step::Run(job("a")));
    assert_eq!(outcome(lost().receive(delta("a", "b"))), Outcome::BaseMismatch);
    assert_eq!(lost().receive(full("b")), Step::Run(job("b")));
}

#[test]
fn a_lost_state_is_guarded_while_a_newer_one_is_refused() {
    let mut enforcement = applied(full("a"));
    enforcement.failed(job("b"), Outcome::NftFailed, String::new());
    enforcement.marker_missing();
    assert_eq!((enforcement.pending(), enforcement.repair()), (Some(job("b")), Some(job("a"))));
    enforcement.committed(job("a"));
    assert_eq!((enforcement.pending(), holds(&enforcement)), (Some(job("b")), Some(revision("a"))));
}

#[test]
fn a_state_that_deltas_led_to_needs_a_full_script_once_lost() {
    let mut enforcement = applied(full("a"));
    apply(&mut enforcement, delta("a", "b"));
    assert!(!enforcement.needs_full());
    enforcement.marker_missing();
    assert!(enforcement.needs_full());
    assert_eq!(enforcement.repair(), None);
    apply(&mut enforcement, full("b"));
    assert!(!enforcement.needs_full());
}
