//! What is sent after which answer, on states that are nothing but names.

use flock_shared::ScriptHash;

use super::*;

#[derive(Debug)]
struct Named(Revision);

impl State for Named {
    fn revision(&self) -> &Revision {
        &self.0
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
        let session = Session::new(applied.map(revision), names(superseded), Limits::default());
        Self { session, now: Instant::now() }
    }

    fn superseded(&self) -> Superseded {
        self.session.superseded().clone()
    }

    /// What there is to do for a desired state, in words.
    fn due(&self, desired: &str) -> String {
        match self.session.due(&Named(revision(desired)), self.now) {
            Due::Nothing => "nothing".into(),
            Due::At(at) => format!("in {:?}", at - self.now),
            Due::Overdue => "overdue".into(),
            Due::Current => "current".into(),
            Due::From(base) => {
                let name = ["a", "b", "c"].into_iter().find(|name| revision(name) == base.0);
                format!("from {}", name.unwrap())
            }
            Due::Full => "full".into(),
        }
    }

    fn send(&mut self, state: &str, kind: Kind) {
        self.send_leaving(state, kind, &[]);
    }

    fn send_leaving(&mut self, state: &str, kind: Kind, leaves: &[&str]) {
        self.session.sent(Arc::new(Named(revision(state))), kind, names(leaves), self.now);
    }

    fn answer(&mut self, of: &str, outcome: Outcome) -> Verdict {
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
        talk.send("a", Kind::Full);
        talk.answer("a", Outcome::Applied);
        talk
    }

    /// The same, and a delta to `b` was refused.
    fn refused_delta(outcome: Outcome) -> Self {
        let mut talk = Self::at_a();
        talk.send("b", Kind::Delta);
        assert_eq!(talk.answer("b", outcome), Verdict::Resend(Duration::from_secs(1)));
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

#[test]
fn a_hello_that_was_right_is_the_first_base() {
    let mut talk = Talk::hello(Some("a"));
    talk.send("a", Kind::Current);
    talk.answer("a", Outcome::Unchanged);
    assert_eq!(talk.due("a"), "nothing");
    assert_eq!(talk.due("b"), "from a");
}

#[test]
fn one_update_is_under_way_and_the_latest_wins() {
    let mut talk = Talk::at_a();
    talk.send("b", Kind::Delta);
    assert_eq!(talk.due("c"), "in 300s");
    talk.answer("b", Outcome::Applied);
    assert_eq!(talk.due("c"), "from b");
}

#[test]
fn an_answer_to_something_else_settles_nothing() {
    let mut talk = Talk::at_a();
    talk.send("b", Kind::Delta);
    talk.answer("a", Outcome::Applied);
    assert_eq!(talk.due("b"), "in 300s");
}

#[test]
fn silence_is_overdue_after_the_limit() {
    let mut talk = Talk::at_a();
    talk.send("b", Kind::Delta);
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
    talk.send("b", Kind::Delta);
    let ack = Ack {
        revision: None,
        outcome: Outcome::Malformed,
        error: String::new(),
        took: Duration::ZERO,
        drifts: 0,
    };
    assert_eq!(talk.session.answered(&ack, talk.now), Verdict::Resend(Duration::from_secs(1)));
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
    talk.send("a", Kind::Current);
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
        talk.send("a", Kind::Current);
        talk.answer("a", outcome);
        talk.later(1);
        assert_eq!(talk.due("a"), "full", "{outcome}");
    }
}

#[test]
fn a_full_script_that_nft_refuses_is_the_agents_to_try_again() {
    for outcome in BY_NFT {
        let mut talk = Talk::at_a();
        talk.send("b", Kind::Full);
        assert_eq!(talk.answer("b", outcome), Verdict::Settled);
        talk.later(3600);
        assert_eq!([talk.due("b"), talk.due("c")], ["nothing", "full"], "{outcome}");
    }
}

#[test]
fn a_newer_state_does_not_wait_for_the_longer_pauses() {
    let mut talk = Talk::at_a();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        talk.send("b", Kind::Full);
        let Verdict::Resend(pause) = talk.answer("b", Outcome::HashMismatch) else { panic!("settled") };
        pauses.push(pause.as_secs());
        assert_eq!(talk.due("c"), "in 1s");
        assert_eq!(talk.due("b"), format!("in {pause:?}"));
        talk.later(pause.as_secs());
        assert_eq!(talk.due("b"), "full");
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    talk.send("b", Kind::Full);
    talk.answer("b", Outcome::Applied);
    talk.send("c", Kind::Delta);
    assert_eq!(talk.answer("c", Outcome::HashMismatch), Verdict::Resend(Duration::from_secs(1)));
}

#[test]
fn what_is_left_behind_is_what_was_acknowledged() {
    let mut talk = Talk::at_a();
    talk.send_leaving("b", Kind::Delta, &["a"]);
    assert_eq!(talk.superseded(), names(&[]));
    talk.answer("b", Outcome::Applied);
    assert_eq!(talk.superseded(), names(&["a"]));
    talk.send_leaving("c", Kind::Delta, &["a", "b"]);
    talk.answer("c", Outcome::NftKilled);
    assert_eq!(talk.superseded(), names(&["a"]));
    talk.answer("c", Outcome::Applied);
    assert_eq!(talk.superseded(), names(&["a", "b"]), "after all");
    talk.send("d", Kind::Full);
    talk.answer("d", Outcome::Applied);
    assert_eq!(talk.superseded(), names(&[]));
}

#[test]
fn what_an_agent_says_that_was_left_behind_is_believed_until_nft_has_run() {
    for (kind, outcome, left) in [
        (Kind::Current, Outcome::Unchanged, &["x"][..]),
        // The table was lost, and came back by what had led to it.
        (Kind::Current, Outcome::Applied, &["x"]),
        (Kind::Full, Outcome::Unchanged, &["x"]),
        (Kind::Full, Outcome::Applied, &[]),
    ] {
        let mut talk = Talk::hello_after(Some("a"), &["x"]);
        talk.send_leaving("a", kind, if kind == Kind::Current { &["x"] } else { &[] });
        talk.answer("a", outcome);
        assert_eq!(talk.superseded(), names(left), "{kind:?} {outcome}");
    }
}
