//! What is sent after which answer, on states that are nothing but names.

use flock_shared::ScriptHash;

use super::*;

#[derive(Debug)]
struct Named {
    name: String,
    revision: Revision,
}

impl Named {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), revision: revision(name) })
    }
}

impl State for Named {
    fn revision(&self) -> &Revision {
        &self.revision
    }

    fn is_closed(&self) -> bool {
        self.name.starts_with("closed ")
    }

    fn closed(&self) -> Arc<Self> {
        Self::new(&format!("closed {}", self.name))
    }
}

fn revision(name: &str) -> Revision {
    Revision::of(ScriptHash::of(name.as_bytes()))
}

fn names(names: &[&str]) -> Superseded {
    Superseded::new(names.iter().copied().map(revision).collect()).unwrap()
}

/// A session at a moment that only the test moves.
struct Talk {
    session: Session<Named>,
    now: Instant,
}

impl Talk {
    fn hello(applied: Option<&str>) -> Self {
        Self::hello_after(applied, &[])
    }

    /// The same, with a table that has gone on from others.
    fn hello_after(applied: Option<&str>, superseded: &[&str]) -> Self {
        Self::hello_of_grammar(applied, superseded, GRAMMAR_LEAST)
    }

    /// The same, of an agent whose guard takes so much.
    fn hello_of_grammar(applied: Option<&str>, superseded: &[&str], grammar: u32) -> Self {
        let session = Session::new(applied.map(revision), names(superseded), grammar, Limits::default());
        Self { session, now: Instant::now() }
    }

    fn superseded(&self) -> Superseded {
        self.session.superseded().clone()
    }

    /// What there is to do for a desired state, in words.
    fn due(&mut self, desired: &str) -> String {
        let is_desired =
            |state: &Named| if state.name == desired { String::new() } else { format!(" {}", state.name) };
        match self.session.due(&Named::new(desired), self.now) {
            Action::Nothing => "nothing".into(),
            Action::At(at) => format!("in {:?}", at - self.now),
            Action::Overdue => "overdue".into(),
            Action::Current(state) => format!("current{}", is_desired(&state)),
            Action::From(base, state) => format!("from {}{}", base.name, is_desired(&state)),
            Action::Full(state) => format!("full{}", is_desired(&state)),
        }
    }

    fn send(&mut self, state: &str, kind: UpdateForm) {
        self.send_leaving(state, kind, &[]);
    }

    fn send_leaving(&mut self, state: &str, kind: UpdateForm, leaves: &[&str]) {
        self.session.sent(Named::new(state), kind, names(leaves), self.now);
    }

    fn answer(&mut self, of: &str, outcome: Outcome) -> AckEffect {
        let ack = Ack {
            revision: Some(revision(of)),
            outcome,
            error: String::new(),
            took: Duration::ZERO,
            drifts: 0,
        };
        self.session.answered(&ack, self.now)
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// A session whose agent has acknowledged the full script of `a`.
    fn at_a() -> Self {
        let mut talk = Self::hello(None);
        talk.send("a", UpdateForm::Full);
        talk.answer("a", Outcome::Applied);
        talk
    }

    /// The same, and a delta to `b` was refused.
    fn refused_delta(outcome: Outcome) -> Self {
        let mut talk = Self::at_a();
        talk.send("b", UpdateForm::Delta);
        assert_eq!(talk.answer("b", outcome), AckEffect::Resend(Duration::from_secs(1)));
        talk
    }
}

const BY_NFT: [Outcome; 4] =
    [Outcome::NftFailed, Outcome::NftTimedOut, Outcome::NftKilled, Outcome::NftMissing];

#[test]
fn a_hello_decides_what_comes_first() {
    assert_eq!(Talk::hello(None).due("a"), "full");
    assert_eq!(Talk::hello(Some("a")).due("a"), "current");
    assert_eq!(Talk::hello(Some("b")).due("a"), "full");
}

/// What it has may be the desired state's name: its guard would take no step from there.
#[test]
fn an_agent_that_would_refuse_every_script_is_sent_none() {
    for applied in [None, Some("a"), Some("closed a")] {
        let mut talk = Talk::hello_of_grammar(applied, &[], GRAMMAR_LEAST - 1);
        for _ in 0..3 {
            assert_eq!((talk.due("a").as_str(), talk.session.closed()), ("nothing", None), "{applied:?}");
            talk.later(3600);
        }
    }
}

#[test]
fn a_hello_that_was_right_is_the_first_base() {
    let mut talk = Talk::hello(Some("a"));
    talk.send("a", UpdateForm::Current);
    talk.answer("a", Outcome::Unchanged);
    assert_eq!(talk.due("a"), "nothing");
    assert_eq!(talk.due("b"), "from a");
}

#[test]
fn one_update_is_under_way_and_the_latest_wins() {
    let mut talk = Talk::at_a();
    talk.send("b", UpdateForm::Delta);
    assert_eq!(talk.due("c"), "in 300s");
    talk.answer("b", Outcome::Applied);
    assert_eq!(talk.due("c"), "from b");
}

#[test]
fn an_answer_to_something_else_settles_nothing() {
    let mut talk = Talk::at_a();
    talk.send("b", UpdateForm::Delta);
    talk.answer("a", Outcome::Applied);
    assert_eq!(talk.due("b"), "in 300s");
}

#[test]
fn silence_is_overdue_after_the_limit() {
    let mut talk = Talk::at_a();
    talk.send("b", UpdateForm::Delta);
    talk.later(300);
    assert_eq!(talk.due("b"), "overdue");
}

#[test]
fn a_refused_delta_is_followed_by_a_full_script_after_a_pause() {
    for outcome in
        [Outcome::BaseMismatch, Outcome::HashMismatch, Outcome::Malformed].into_iter().chain(BY_NFT)
    {
        let mut talk = Talk::refused_delta(outcome);
        assert_eq!([talk.due("b"), talk.due("c")], ["in 1s", "in 1s"], "{outcome}");
        talk.later(1);
        assert_eq!([talk.due("b"), talk.due("c")], ["full", "full"], "{outcome}");
    }
}

#[test]
fn an_update_whose_revision_could_not_be_read_is_refused_too() {
    let mut talk = Talk::at_a();
    talk.send("b", UpdateForm::Delta);
    let ack = Ack {
        revision: None,
        outcome: Outcome::Malformed,
        error: String::new(),
        took: Duration::ZERO,
        drifts: 0,
    };
    assert_eq!(talk.session.answered(&ack, talk.now), AckEffect::Resend(Duration::from_secs(1)));
}

#[test]
fn an_agent_that_succeeds_by_itself_needs_no_full_script() {
    let mut talk = Talk::refused_delta(Outcome::NftFailed);
    talk.answer("b", Outcome::Applied);
    assert_eq!(talk.due("b"), "nothing");
    assert_eq!(talk.due("c"), "from b");
}

#[test]
fn back_to_what_the_agent_has_makes_it_forget_the_delta_that_it_holds() {
    let mut talk = Talk::refused_delta(Outcome::NftFailed);
    talk.later(1);
    assert_eq!(talk.due("a"), "current");
    talk.send("a", UpdateForm::Current);
    talk.answer("a", Outcome::Unchanged);
    assert_eq!(talk.due("b"), "from a");
}

#[test]
fn an_agent_that_lost_its_base_is_not_told_that_it_is_current() {
    let mut talk = Talk::refused_delta(Outcome::BaseMismatch);
    talk.later(1);
    assert_eq!(talk.due("a"), "full");
}

#[test]
fn a_refused_current_is_followed_by_a_full_script() {
    for outcome in [Outcome::BaseMismatch].into_iter().chain(BY_NFT) {
        let mut talk = Talk::hello(Some("a"));
        talk.send("a", UpdateForm::Current);
        talk.answer("a", outcome);
        talk.later(1);
        assert_eq!(talk.due("a"), "full", "{outcome}");
    }
}

#[test]
fn a_full_script_that_nft_refuses_is_the_agents_to_try_again() {
    for outcome in BY_NFT {
        let mut talk = Talk::at_a();
        talk.send("b", UpdateForm::Full);
        assert_eq!(talk.answer("b", outcome), AckEffect::Settled);
        talk.later(3600);
        assert_eq!([talk.due("b"), talk.due("c")], ["nothing", "full"], "{outcome}");
    }
}

/// A session whose agent has refused the full script of `b` as often as it may.
fn refused_twice() -> Talk {
    let mut talk = Talk::at_a();
    talk.send("b", UpdateForm::Full);
    assert_eq!(talk.answer("b", Outcome::NftFailed), AckEffect::Settled);
    // The agent's own second attempt.
    assert_eq!(talk.answer("b", Outcome::NftTimedOut), AckEffect::Closed);
    talk
}

/// The same, and the closed form stands.
fn closed() -> Talk {
    let mut talk = refused_twice();
    assert_eq!(talk.due("b"), "full closed b");
    talk.send("closed b", UpdateForm::Full);
    talk.answer("closed b", Outcome::Applied);
    talk
}

#[test]
fn what_is_refused_twice_is_closed_and_not_sent_again() {
    let mut talk = closed();
    talk.later(100_000);
    assert_eq!(talk.due("b"), "nothing");
    assert_eq!(talk.session.closed(), Some(""));
}

#[test]
fn what_is_no_fault_of_the_script_closes_nothing() {
    let mut talk = Talk::at_a();
    talk.send("b", UpdateForm::Full);
    for _ in 0..10 {
        assert_eq!(talk.answer("b", Outcome::NftMissing), AckEffect::Settled);
    }
    for expected in [AckEffect::Settled, AckEffect::Settled, AckEffect::Settled, AckEffect::Closed] {
        assert_eq!(talk.answer("b", Outcome::NftKilled), expected, "killed four times");
    }
}

#[test]
fn other_objects_are_closed_at_once_and_tried_after_a_pause_that_grows() {
    let mut talk = closed();
    for (tried, pause) in [("c", 60), ("d", 120), ("e", 240), ("f", 480)] {
        talk.send(&format!("closed {tried}"), UpdateForm::Full);
        talk.answer(&format!("closed {tried}"), Outcome::Applied);
        assert_eq!(talk.due(tried), format!("in {pause}s"));
        talk.later(pause);
        assert_eq!(talk.due(tried), format!("from closed {tried}"));
        talk.send(tried, UpdateForm::Full);
        assert_eq!(talk.answer(tried, Outcome::NftFailed), AckEffect::Closed, "once is enough now");
        assert_eq!(talk.due(tried), format!("current closed {tried}"), "the agent forgets what it holds");
        talk.send(&format!("closed {tried}"), UpdateForm::Current);
        talk.answer(&format!("closed {tried}"), Outcome::Unchanged);
        assert_eq!(talk.due(tried), "nothing");
    }
    for number in 0..5 {
        talk.later(3600);
        assert_eq!(
            talk.due(&number.to_string()),
            format!("from closed f {number}").replace(&format!(" {number}"), "")
        );
        talk.send(&number.to_string(), UpdateForm::Full);
        talk.answer(&number.to_string(), Outcome::NftFailed);
        talk.send("closed f", UpdateForm::Current);
        talk.answer("closed f", Outcome::Unchanged);
    }
}

#[test]
fn other_objects_are_closed_until_they_are_tried() {
    let mut talk = closed();
    assert_eq!(talk.due("c"), "from closed b closed c");
}

#[test]
fn what_succeeds_ends_it() {
    let mut talk = closed();
    talk.later(60);
    talk.send("c", UpdateForm::Full);
    talk.answer("c", Outcome::Applied);
    assert_eq!(talk.session.closed(), None);
    assert_eq!([talk.due("c"), talk.due("b")], ["nothing", "from c"]);
}

#[test]
fn a_replica_goes_on_where_another_one_closed() {
    let mut talk = Talk::hello(Some("closed b"));
    assert_eq!(talk.due("b"), "current closed b");
    talk.send("closed b", UpdateForm::Current);
    talk.answer("closed b", Outcome::Unchanged);
    assert_eq!(talk.due("b"), "in 60s");
    talk.later(60);
    assert_eq!(talk.due("b"), "from closed b", "once: the node may have become another");
    talk.send("b", UpdateForm::Full);
    assert_eq!(talk.answer("b", Outcome::NftFailed), AckEffect::Closed);
    talk.send("closed b", UpdateForm::Current);
    talk.answer("closed b", Outcome::Unchanged);
    talk.later(100_000);
    assert_eq!(talk.due("b"), "nothing");
}

#[test]
fn a_closed_form_that_is_refused_is_not_sent_again_either() {
    let mut talk = refused_twice();
    talk.send("closed b", UpdateForm::Full);
    assert_eq!(talk.answer("closed b", Outcome::NftFailed), AckEffect::Settled);
    assert_eq!(talk.answer("closed b", Outcome::NftFailed), AckEffect::Settled);
    talk.later(100_000);
    assert_eq!([talk.due("b"), talk.due("c")], ["nothing", "full"]);
}

#[test]
fn a_newer_state_does_not_wait_for_the_longer_pauses() {
    let mut talk = Talk::at_a();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        talk.send("b", UpdateForm::Full);
        let AckEffect::Resend(pause) = talk.answer("b", Outcome::HashMismatch) else { panic!("settled") };
        pauses.push(pause.as_secs());
        assert_eq!(talk.due("c"), "in 1s");
        assert_eq!(talk.due("b"), format!("in {pause:?}"));
        talk.later(pause.as_secs());
        assert_eq!(talk.due("b"), "full");
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    talk.send("b", UpdateForm::Full);
    talk.answer("b", Outcome::Applied);
    talk.send("c", UpdateForm::Delta);
    assert_eq!(talk.answer("c", Outcome::HashMismatch), AckEffect::Resend(Duration::from_secs(1)));
}

#[test]
fn what_is_left_behind_is_what_was_acknowledged() {
    let mut talk = Talk::at_a();
    talk.send_leaving("b", UpdateForm::Delta, &["a"]);
    assert_eq!(talk.superseded(), names(&[]));
    talk.answer("b", Outcome::Applied);
    assert_eq!(talk.superseded(), names(&["a"]));
    talk.send_leaving("c", UpdateForm::Delta, &["a", "b"]);
    talk.answer("c", Outcome::NftKilled);
    assert_eq!(talk.superseded(), names(&["a"]));
    talk.answer("c", Outcome::Applied);
    assert_eq!(talk.superseded(), names(&["a", "b"]), "after all");
    talk.send("d", UpdateForm::Full);
    talk.answer("d", Outcome::Applied);
    assert_eq!(talk.superseded(), names(&[]));
}

#[test]
fn what_an_agent_says_that_was_left_behind_is_believed_until_nft_has_run() {
    for (kind, outcome, left) in [
        (UpdateForm::Current, Outcome::Unchanged, &["x"][..]),
        // The table was lost, and came back by what had led to it.
        (UpdateForm::Current, Outcome::Applied, &["x"]),
        (UpdateForm::Full, Outcome::Unchanged, &["x"]),
        (UpdateForm::Full, Outcome::Applied, &[]),
    ] {
        let mut talk = Talk::hello_after(Some("a"), &["x"]);
        talk.send_leaving("a", kind, if kind == UpdateForm::Current { &["x"] } else { &[] });
        talk.answer("a", outcome);
        assert_eq!(talk.superseded(), names(left), "{kind:?} {outcome}");
    }
}

#[test]
fn only_after_a_full_script_nobody_knows_what_stood_before() {
    let mut talk = Talk::hello(None);
    talk.send("a", UpdateForm::Full);
    assert_eq!(talk.answer("a", Outcome::Applied), AckEffect::Anew);
    for (state, kind) in [("b", UpdateForm::Delta), ("b", UpdateForm::Current)] {
        talk.send(state, kind);
        assert_eq!(talk.answer(state, Outcome::Applied), AckEffect::Settled);
    }
    talk.send("b", UpdateForm::Full);
    assert_eq!(talk.answer("b", Outcome::Unchanged), AckEffect::Settled, "it stood there");
    // A full script that the agent has held and tried again.
    talk.send("c", UpdateForm::Full);
    talk.answer("c", Outcome::NftFailed);
    assert_eq!(talk.answer("c", Outcome::Applied), AckEffect::Anew);
}
