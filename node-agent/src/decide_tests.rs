//! Tests of the agent's decisions.

use super::*;
use flock_shared::ScriptHash;

fn revision(name: &str) -> Revision {
    Revision::of(ScriptHash::of(name.as_bytes()))
}

/// One that may reach nft.
fn statement(name: &str) -> String {
    format!("flush chain inet flock_netpol ingress_{:.32}\n", revision(name).as_str())
}

fn script(name: &str) -> Script {
    Script::new(statement(name))
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

fn position(name: &str) -> Position {
    Position::new(name.as_bytes()).unwrap()
}

fn at(name: &str, update: v1::Update) -> v1::Update {
    v1::Update { position: name.to_owned().into(), ..update }
}

fn entry(name: &str) -> JournalEntry {
    let (position, superseded) = (Position::default(), Superseded::default());
    JournalEntry { revision: revision(name), position, superseded, script: script(name) }
}

fn job(name: &str) -> Job {
    Job::full(entry(name))
}

/// What brings back the last of these, the first of which came as a full script.
fn repair(names: &[&str]) -> Job {
    let scripts: String = names.iter().map(|name| statement(name)).collect();
    let (position, superseded) = (Position::default(), Superseded::default());
    let (revision, script) = (revision(names.last().unwrap()), Script::new(scripts));
    Job { revision, position, superseded, script, scope: Scope::Repair }
}

fn applied(update: v1::Update) -> Decider {
    let mut decider = Decider::default();
    apply(&mut decider, update);
    decider
}

fn apply(decider: &mut Decider, update: v1::Update) {
    let Decision::Run(job) = decider.receive(update) else { panic!("nothing to run") };
    assert_eq!(decider.committed(job).outcome, Outcome::Applied);
}

fn outcome(decision: Decision) -> Outcome {
    match decision {
        Decision::Answer(answer) => answer.outcome,
        Decision::Run(job) => panic!("would run {job:?}"),
    }
}

fn holds(decider: &Decider) -> Option<Revision> {
    decider.holds().map(|standing| standing.revision.clone())
}

#[test]
fn a_full_script_runs_from_anywhere_and_once() {
    let mut decider = applied(full("a"));
    assert_eq!(holds(&decider), Some(revision("a")));
    assert_eq!(outcome(decider.receive(full("a"))), Outcome::Unchanged);
    assert_eq!(outcome(decider.receive(current("a"))), Outcome::Unchanged);
    assert_eq!(decider.receive(full("b")), Decision::Run(job("b")));
}

#[test]
fn a_changed_byte_runs_nothing_and_names_the_revision() {
    let mut decider = applied(full("a"));
    let changed = v1::Update { script: "flush ruleset\n".into(), ..full("b") };
    let Decision::Answer(answer) = decider.receive(changed) else { panic!("would run") };
    assert_eq!((answer.revision, answer.outcome), (Some(revision("b")), Outcome::HashMismatch));
    assert_eq!(holds(&decider), Some(revision("a")));
}

#[test]
fn a_malformed_update_is_answered_with_what_it_names() {
    let mut decider = Decider::default();
    let Decision::Answer(named) = decider.receive(v1::Update { sha256: "x".into(), ..full("a") }) else {
        panic!("would run")
    };
    assert_eq!((named.revision, named.outcome), (Some(revision("a")), Outcome::Malformed));
    let Decision::Answer(nameless) = decider.receive(v1::Update { revision: "x".into(), ..full("a") }) else {
        panic!("would run")
    };
    assert_eq!((nameless.revision, nameless.outcome), (None, Outcome::Malformed));
}

#[test]
fn a_delta_runs_on_its_base_only() {
    assert_eq!(outcome(Decider::default().receive(delta("a", "b"))), Outcome::BaseMismatch);
    let mut decider = applied(full("a"));
    assert_eq!(outcome(decider.receive(delta("b", "c"))), Outcome::BaseMismatch);
    apply(&mut decider, delta("a", "b"));
    assert_eq!(holds(&decider), Some(revision("b")));
    assert_eq!(outcome(decider.receive(delta("a", "b"))), Outcome::Unchanged);
}

#[test]
fn having_it_already_must_be_true() {
    assert_eq!(outcome(applied(full("a")).receive(current("b"))), Outcome::BaseMismatch);
}

#[test]
fn what_nft_refuses_stays_due_until_a_newer_update() {
    let mut decider = applied(full("a"));
    let Decision::Run(refused) = decider.receive(full("b")) else { panic!("nothing to run") };
    let answer = decider.failed(refused, Outcome::NftFailed, "why".into());
    assert_eq!((answer.outcome, answer.error.as_str()), (Outcome::NftFailed, "why"));
    assert_eq!((decider.pending(), holds(&decider)), (Some(job("b")), Some(revision("a"))));

    let mut changed = full("c");
    changed.script = "flush ruleset\n".into();
    assert_eq!(outcome(decider.receive(changed)), Outcome::HashMismatch);
    assert_eq!(decider.pending(), Some(job("b")), "a refused update replaces nothing");

    assert_eq!(outcome(decider.receive(full("a"))), Outcome::Unchanged);
    assert_eq!(decider.pending(), None, "the state that stands is wanted again");
}

#[test]
fn a_retry_that_succeeds_is_no_longer_due() {
    let mut decider = Decider::default();
    decider.failed(job("a"), Outcome::NftMissing, String::new());
    let retry = decider.pending().unwrap();
    decider.committed(retry);
    assert_eq!((decider.pending(), holds(&decider)), (None, Some(revision("a"))));
}

#[test]
fn a_lost_state_is_brought_back() {
    let mut decider = applied(full("a"));
    decider.lost();
    assert_eq!((holds(&decider), decider.repair()), (None, Some(repair(&["a"]))));

    decider.failed(repair(&["a"]), Outcome::NftFailed, String::new());
    assert_eq!((decider.pending(), decider.repair()), (None, Some(repair(&["a"]))), "due, once");

    decider.committed(repair(&["a"]));
    assert_eq!((holds(&decider), decider.repair()), (Some(revision("a")), None));
}

#[test]
fn a_lost_state_is_not_unchanged() {
    let lost = || {
        let mut decider = applied(full("a"));
        decider.lost();
        decider
    };
    assert_eq!(lost().receive(full("a")), Decision::Run(job("a")));
    assert_eq!(lost().receive(current("a")), Decision::Run(repair(&["a"])));
    assert_eq!(outcome(lost().receive(delta("a", "b"))), Outcome::BaseMismatch);
    assert_eq!(lost().receive(full("b")), Decision::Run(job("b")));
}

#[test]
fn a_lost_state_is_guarded_while_a_newer_one_is_refused() {
    let mut decider = applied(full("a"));
    decider.failed(job("b"), Outcome::NftFailed, String::new());
    decider.lost();
    assert_eq!((decider.pending(), decider.repair()), (Some(job("b")), Some(repair(&["a"]))));
    decider.committed(repair(&["a"]));
    assert_eq!((decider.pending(), holds(&decider)), (Some(job("b")), Some(revision("a"))));
}

#[test]
fn a_state_that_deltas_led_to_is_brought_back_as_it_was() {
    let mut decider = applied(full("a"));
    apply(&mut decider, delta("a", "b"));
    apply(&mut decider, delta("b", "c"));
    decider.lost();
    assert_eq!(decider.repair(), Some(repair(&["a", "b", "c"])));
    decider.committed(repair(&["a", "b", "c"]));
    assert_eq!(holds(&decider), Some(revision("c")));

    apply(&mut decider, delta("c", "d"));
    decider.lost();
    assert_eq!(decider.repair(), Some(repair(&["a", "b", "c", "d"])), "a repair is no new beginning");
    decider.committed(decider.repair().unwrap());

    apply(&mut decider, full("e"));
    decider.lost();
    assert_eq!(decider.repair(), Some(repair(&["e"])));
}

#[test]
fn a_full_script_of_what_stands_begins_a_new_journal() {
    let mut decider = applied(full("a"));
    apply(&mut decider, delta("a", "b"));
    assert_eq!(outcome(decider.receive(full("b"))), Outcome::Unchanged);
    decider.lost();
    assert_eq!(decider.repair(), Some(repair(&["b"])));
}

#[test]
fn after_too_many_deltas_a_full_script_is_needed() {
    let mut decider = applied(full("0"));
    let mut last = 0;
    while !decider.needs_full() {
        apply(&mut decider, delta(&last.to_string(), &(last + 1).to_string()));
        last += 1;
        assert!(last < 10_000);
    }
    assert_eq!(holds(&decider), Some(revision(&last.to_string())), "it stands all the same");
    decider.lost();
    assert!(decider.needs_full() && !decider.is_repairable());
    assert_eq!(decider.repair(), None);
    apply(&mut decider, full("b"));
    assert!(!decider.needs_full());
}

#[test]
fn a_delta_that_nft_refuses_is_not_tried_again() {
    let mut decider = applied(full("a"));
    let Decision::Run(refused) = decider.receive(delta("a", "b")) else { panic!("nothing to run") };
    assert_eq!(decider.failed(refused, Outcome::NftFailed, "why".into()).outcome, Outcome::NftFailed);
    assert_eq!((decider.pending(), holds(&decider)), (None, Some(revision("a"))));
}

#[test]
fn the_position_is_that_of_the_newest_state() {
    let newest = |decider: &Decider| decider.newest().map(|standing| standing.position.clone());
    let mut decider = Decider::new();
    assert_eq!(newest(&decider), None);
    apply(&mut decider, at("1", full("a")));
    assert_eq!(newest(&decider), Some(position("1")));
    apply(&mut decider, at("2", delta("a", "b")));
    assert_eq!(newest(&decider), Some(position("2")));
    assert_eq!(outcome(decider.receive(at("3", current("b")))), Outcome::Unchanged);
    assert_eq!(newest(&decider), Some(position("3")));

    let Decision::Run(refused) = decider.receive(at("4", full("c"))) else { panic!("nothing to run") };
    decider.failed(refused, Outcome::NftFailed, String::new());
    assert_eq!(newest(&decider), Some(position("3")), "what is refused is not there");
    decider.lost();
    assert_eq!(newest(&decider), Some(position("3")), "what was known stays known");
    assert_eq!(outcome(decider.receive(delta("x", "y"))), Outcome::BaseMismatch);
    assert_eq!(newest(&decider), Some(position("3")));
}

#[test]
fn what_an_earlier_run_left_is_brought_back() {
    let mut journal = Journal::new(entry("a"));
    journal.push(entry("b")).unwrap();
    let mut decider = Decider::new();
    decider.remember(journal);
    assert_eq!((holds(&decider), decider.repair()), (None, Some(repair(&["a", "b"]))));
    decider.committed(repair(&["a", "b"]));
    assert_eq!(holds(&decider), Some(revision("b")));

    apply(&mut decider, delta("b", "c"));
    decider.lost();
    assert_eq!(decider.repair(), Some(repair(&["a", "b", "c"])));
}

#[test]
fn a_script_that_reaches_beyond_its_table_is_refused_and_what_stands_stays() {
    let mut decider = applied(full("a"));
    let script = Script::new("add table inet flock_netpol\nflush ruleset\n");
    let kinds = [UpdateKind::Full(script.clone()), UpdateKind::Delta { base: revision("a"), script }];
    for kind in kinds {
        let Decision::Answer(answer) = decider.receive(Update::new(revision("b"), kind).into()) else {
            panic!("it would reach nft")
        };
        assert_eq!((answer.revision, answer.outcome), (Some(revision("b")), Outcome::Malformed));
        assert!(answer.error.contains("line 2"), "{}", answer.error);
    }
    assert_eq!(decider.holds().map(|standing| &standing.revision), Some(&revision("a")));
    assert_eq!(decider.pending(), None);
}

fn leaving(names: &[&str], update: v1::Update) -> v1::Update {
    v1::Update { superseded: names.iter().map(|name| revision(name).to_string()).collect(), ..update }
}

fn left(names: &[&str]) -> Superseded {
    Superseded::new(names.iter().copied().map(revision).collect()).unwrap()
}

#[test]
fn what_the_table_has_gone_on_from_is_kept_as_nft_left_it() {
    let superseded = |decider: &Decider| decider.newest().unwrap().superseded.clone();
    let journaled = |decider: &Decider| {
        let journal = decider.newest().unwrap().journal.clone().unwrap();
        journal.last().superseded.clone()
    };
    let mut decider = applied(full("a"));
    apply(&mut decider, leaving(&["a"], delta("a", "b")));
    assert_eq!((superseded(&decider), journaled(&decider)), (left(&["a"]), left(&["a"])));

    let Decision::Run(refused) = decider.receive(leaving(&["a", "b"], delta("b", "c"))) else {
        panic!("nothing to run")
    };
    decider.failed(refused, Outcome::NftFailed, String::new());
    assert_eq!(superseded(&decider), left(&["a"]), "what is refused leaves nothing");

    assert_eq!(outcome(decider.receive(full("b"))), Outcome::Unchanged);
    let kept = (superseded(&decider), journaled(&decider));
    assert_eq!(kept, (left(&["a"]), left(&["a"])), "nft was not run");

    decider.lost();
    assert_eq!(superseded(&decider), left(&["a"]));
    let repair = decider.repair().unwrap();
    decider.committed(repair);
    assert_eq!(superseded(&decider), left(&["a"]));
    apply(&mut decider, delta("b", "c"));
    assert_eq!(superseded(&decider), left(&[]), "it swept");
}

#[test]
fn what_an_earlier_run_went_on_from_is_known() {
    let mut journal = Journal::new(entry("a"));
    journal.push(JournalEntry { superseded: left(&["a"]), ..entry("b") }).unwrap();
    let mut decider = Decider::new();
    decider.remember(journal);
    assert_eq!(decider.newest().unwrap().superseded, left(&["a"]));
}
