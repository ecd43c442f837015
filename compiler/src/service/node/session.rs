//! What to send to one agent next, and what its answers mean: decisions, without any I/O.
//!
//! One update is under way at a time. What the agent has acknowledged last is the base of the next delta; states that
//! come meanwhile overtake each other, so a slow agent skips stale ones and nothing queues for it.
//!
//! A full script that a node refuses as often as it may ([`Outcome::strikes`]) is not sent again. Instead the node gets
//! the closed form of whatever is desired, until other objects ask for a table that it may take: that is tried after a
//! pause that grows each time it was in vain. Replicas agree without knowing of each other: an agent that comes with the
//! closed form's revision is taken for one that had refused the normal form, which a new stream tries once.
//!
//! An agent whose guard would refuse every script is sent none ([`GRAMMAR_LEAST`]): it keeps what it has.

use std::sync::Arc;
use std::time::Duration;

use flock_compiler_core::nft::read::GRAMMAR_LEAST;
use flock_proto::{Ack, Outcome, STRIKES_LIMIT};
use flock_shared::{Revision, Superseded};
use tokio::time::Instant;

use crate::engine::Published;
use crate::service::Limits;

/// A state that has a name.
pub(super) trait State {
    /// The name.
    fn revision(&self) -> &Revision;
    /// Returns true if it is the closed form of another one.
    fn is_closed(&self) -> bool;
    /// The closed form of the same objects.
    fn closed(&self) -> Arc<Self>;
}

impl State for Published {
    fn revision(&self) -> &Revision {
        self.revision()
    }

    fn is_closed(&self) -> bool {
        self.is_closed()
    }

    fn closed(&self) -> Arc<Self> {
        self.closed()
    }
}

/// What the agent has, as far as is known.
#[derive(Debug)]
enum KnownState<S> {
    /// Nothing that an update could build on.
    Unknown,
    /// What its hello named.
    Said(Revision),
    /// What it acknowledged.
    State(Arc<S>),
}

/// The kinds of updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpdateForm {
    /// The agent has the state already.
    Current,
    /// From what it has.
    Delta,
    /// From anywhere.
    Full,
}

/// An update that was sent.
#[derive(Debug)]
struct SentUpdate<S> {
    state: Arc<S>,
    kind: UpdateForm,
    /// What the table has gone on from once nft has taken it.
    leaves: Superseded,
    at: Instant,
}

/// An update that did not reach the kernel.
#[derive(Debug)]
struct RefusedUpdate<S> {
    state: Arc<S>,
    kind: UpdateForm,
    leaves: Superseded,
    /// When a newer state may be sent.
    newer: Instant,
    /// When the same may be sent once more; `None`: the agent itself tries again.
    again: Option<Instant>,
    /// What its failures count, see [`Outcome::strikes`].
    strikes: u32,
}

/// The node has refused the normal form: the closed one is wanted there.
#[derive(Debug)]
struct ClosedForm {
    /// The state that it refused last; `None`: one of an earlier stream, which may be tried once.
    refused: Option<Revision>,
    /// nft's words; empty if they went to an earlier stream.
    words: String,
    /// When a state may be tried that it has not refused.
    again: Instant,
    /// How long that was put off.
    pause: Duration,
}

/// What there is to do for a desired state.
#[derive(Debug)]
pub(super) enum Action<S> {
    /// Nothing until an answer or another state comes.
    Nothing,
    /// Nothing before this moment.
    At(Instant),
    /// The agent has not answered for too long.
    Overdue,
    /// Say that the agent has this state.
    Current(Arc<S>),
    /// Send a delta from one state to another, or a full script.
    From(Arc<S>, Arc<S>),
    /// Send a full script.
    Full(Arc<S>),
}

/// What an answer comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AckEffect {
    /// Nothing is left to do.
    Settled,
    /// The same, after a full script: from which state the node has come to this one is not known.
    Anew,
    /// The update, or what follows it, is sent again after a pause.
    Resend(Duration),
    /// The closed form is sent from here on.
    Closed,
}

/// The compiler's side of a stream.
#[derive(Debug)]
pub(super) struct Session<S> {
    has: KnownState<S>,
    /// What the agent's table has gone on from and may still hold markers of. If that is wrong, a delta is refused at
    /// worst.
    superseded: Superseded,
    sent: Option<SentUpdate<S>>,
    refused: Option<RefusedUpdate<S>>,
    /// In a box: few nodes have one, and thousands of streams a place for it.
    closing: Option<Box<ClosedForm>>,
    /// The next pause before the same is sent again.
    pause: Duration,
    /// What its guard takes.
    grammar: u32,
    limits: Limits,
}

impl<S: State> Session<S> {
    /// After a hello that named `applied` and `superseded`, of an agent whose guard takes `grammar`.
    pub(super) fn new(
        applied: Option<Revision>,
        superseded: Superseded,
        grammar: u32,
        limits: Limits,
    ) -> Self {
        let has = applied.map_or(KnownState::Unknown, KnownState::Said);
        let pause = limits.resend_first;
        Self { has, superseded, sent: None, refused: None, closing: None, pause, grammar, limits }
    }

    /// The state that the agent acknowledged last.
    pub(super) const fn state(&self) -> Option<&Arc<S>> {
        match &self.has {
            KnownState::State(state) => Some(state),
            KnownState::Unknown | KnownState::Said(_) => None,
        }
    }

    /// Returns true if an update is under way: the node may have it, or what it acknowledged before.
    pub(super) const fn is_under_way(&self) -> bool {
        self.sent.is_some()
    }

    /// The state that the agent has, if nothing is under way or refused.
    pub(super) fn rests(&self) -> Option<Arc<S>> {
        let is_at_rest = self.sent.is_none() && self.refused.is_none();
        self.state().filter(|_| is_at_rest).cloned()
    }

    /// What the agent's table has gone on from.
    pub(super) const fn superseded(&self) -> &Superseded {
        &self.superseded
    }

    /// Why the closed form is wanted, in nft's words, which may be empty; `None` while the normal one is.
    pub(super) fn closed(&self) -> Option<&str> {
        self.closing.as_ref().map(|closing| closing.words.as_str())
    }

    /// What to do for `desired`.
    pub(super) fn due(&mut self, desired: &Arc<S>, now: Instant) -> Action<S> {
        if self.grammar < GRAMMAR_LEAST {
            return Action::Nothing;
        }
        if let Some(sent) = &self.sent {
            let limit = sent.at + self.limits.ack;
            return if now < limit { Action::At(limit) } else { Action::Overdue };
        }
        self.recognize(desired, now);
        // Closed: the normal form of what was refused never, that of other objects after a pause, the closed form meanwhile.
        match &self.closing {
            None => self.due_for(Arc::clone(desired), now),
            Some(closing) if closing.refused.as_ref() == Some(desired.revision()) => {
                self.due_for(desired.closed(), now)
            }
            // A timer beside the closed form: without it nobody would look again if nothing else happens.
            Some(closing) if now < closing.again => match self.due_for(desired.closed(), now) {
                Action::Nothing => Action::At(closing.again),
                Action::At(at) => Action::At(at.min(closing.again)),
                due => due,
            },
            Some(_) => self.due_for(Arc::clone(desired), now),
        }
    }

    /// An agent that says that it has the closed form was sent it by somebody, for a reason.
    fn recognize(&mut self, desired: &S, now: Instant) {
        if self.closing.is_none()
            && let KnownState::Said(said) = &self.has
            && said != desired.revision()
            && said == desired.closed().revision()
        {
            let pause = self.limits.reopen_first;
            self.closing =
                Some(Box::new(ClosedForm { refused: None, words: String::new(), again: now + pause, pause }));
        }
    }

    fn due_for(&self, wanted: Arc<S>, now: Instant) -> Action<S> {
        let Some(refused) = &self.refused else {
            return match &self.has {
                KnownState::State(state) if state.revision() == wanted.revision() => Action::Nothing,
                KnownState::State(state) => Action::From(Arc::clone(state), wanted),
                KnownState::Said(revision) if revision == wanted.revision() => Action::Current(wanted),
                // The one place where a state that an earlier stream had could be looked up.
                KnownState::Said(_) | KnownState::Unknown => Action::Full(wanted),
            };
        };
        let again = refused.state.revision() == wanted.revision();
        match if again { refused.again } else { Some(refused.newer) } {
            None => Action::Nothing,
            Some(at) if now < at => Action::At(at),
            // Back to what the agent had before: it only has to forget what it holds and tries again.
            Some(_) if refused.kind != UpdateForm::Current && self.has(&wanted) => Action::Current(wanted),
            Some(_) => Action::Full(wanted),
        }
    }

    /// An update was sent that leaves markers behind.
    pub(super) fn sent(&mut self, state: Arc<S>, kind: UpdateForm, leaves: Superseded, now: Instant) {
        self.sent = Some(SentUpdate { state, kind, leaves, at: now });
    }

    /// The agent has answered.
    pub(super) fn answered(&mut self, ack: &Ack, now: Instant) -> AckEffect {
        // One update is under way at most, so an answer is to it or to something older.
        // An answer without a revision is to an update whose revision could not be read.
        let answers = |state: &S| ack.revision.as_ref().is_none_or(|revision| revision == state.revision());
        if let Some(sent) = self.sent.take_if(|sent| answers(&sent.state)) {
            return if ack.outcome.is_success() {
                self.settle(sent.state, sent.leaves, (sent.kind, ack.outcome))
            } else {
                self.refuse(sent, ack, now)
            };
        }
        // An answer to something older, such as a table that was put back: what is under way decides.
        if self.sent.is_some() {
            return AckEffect::Settled;
        }
        // The agent's own later attempt at something that nft had refused.
        if ack.outcome.is_success() {
            if let Some(refused) = self.refused.take_if(|refused| answers(&refused.state)) {
                return self.settle(refused.state, refused.leaves, (refused.kind, ack.outcome));
            }
        } else if let Some(refused) = self.refused.as_mut().filter(|refused| answers(&refused.state)) {
            // The agent tries what it holds again by itself, and answers each time: the failures add up.
            refused.strikes += ack.outcome.strikes();
            return self.judge(ack, now);
        }
        AckEffect::Settled
    }

    /// Closes the node if a full script has been refused as often as it may be. Once closed, a single failure is enough.
    fn judge(&mut self, ack: &Ack, now: Instant) -> AckEffect {
        let limit = if self.closing.is_some() { 1 } else { STRIKES_LIMIT };
        let over = |refused: &&mut RefusedUpdate<S>| {
            refused.kind == UpdateForm::Full && refused.strikes >= limit && !refused.state.is_closed()
        };
        let Some(refused) = self.refused.as_mut().filter(over) else { return AckEffect::Settled };
        // The closed form is another state, and need not wait.
        refused.newer = now;
        let pause = self.closing.as_ref().map_or(self.limits.reopen_first, |closing| closing.pause * 2);
        let pause = pause.min(self.limits.reopen_longest);
        let (refused, words) = (Some(refused.state.revision().clone()), ack.error.clone());
        self.closing = Some(Box::new(ClosedForm { refused, words, again: now + pause, pause }));
        AckEffect::Closed
    }

    fn settle(
        &mut self,
        state: Arc<S>,
        leaves: Superseded,
        (kind, outcome): (UpdateForm, Outcome),
    ) -> AckEffect {
        // The node takes its normal form again: what it refuses next has all strikes before it.
        if !state.is_closed() {
            self.closing = None;
        }
        self.has = KnownState::State(state);
        // Also a full script may find its state in place: then the table holds what it held.
        if outcome != Outcome::Unchanged {
            self.superseded = leaves;
        }
        self.refused = None;
        self.pause = self.limits.resend_first;
        match (kind, outcome) {
            (_, Outcome::Unchanged) | (UpdateForm::Current | UpdateForm::Delta, _) => AckEffect::Settled,
            (UpdateForm::Full, _) => AckEffect::Anew,
        }
    }

    fn refuse(&mut self, sent: SentUpdate<S>, ack: &Ack, now: Instant) -> AckEffect {
        let outcome = ack.outcome;
        let SentUpdate { state, kind, leaves, .. } = sent;
        // The agent has said that it is elsewhere; after any other failure it still has what it had.
        if outcome == Outcome::BaseMismatch {
            self.has = KnownState::Unknown;
        }
        let newer = now + self.limits.resend_first;
        // A full script that nft refused is held and tried again by the agent.
        let held = kind == UpdateForm::Full
            && matches!(
                outcome,
                Outcome::NftFailed | Outcome::NftTimedOut | Outcome::NftKilled | Outcome::NftMissing
            );
        let pause = self.pause;
        let again = (!held).then(|| now + pause);
        let strikes = outcome.strikes();
        self.refused = Some(RefusedUpdate { state, kind, leaves, newer, again, strikes });
        if held {
            return self.judge(ack, now);
        }
        self.pause = (pause * 2).min(self.limits.resend_longest);
        AckEffect::Resend(pause)
    }

    fn has(&self, desired: &S) -> bool {
        matches!(&self.has, KnownState::State(state) if state.revision() == desired.revision())
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
