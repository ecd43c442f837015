//! What to send to one agent next, and what its answers mean: decisions, without any I/O.
//!
//! One update is under way at a time. What the agent has acknowledged last is the base of the next delta; states that
//! come meanwhile overtake each other, so a slow agent skips stale ones and nothing queues for it.

use std::sync::Arc;
use std::time::Duration;

use flock_proto::{Ack, Outcome};
use flock_shared::{Revision, Superseded};
use tokio::time::Instant;

use super::limits::Limits;
use crate::engine::Published;

/// A state that has a name.
pub(super) trait State {
    /// The name.
    fn revision(&self) -> &Revision;
}

impl State for Published {
    fn revision(&self) -> &Revision {
        self.revision()
    }
}

/// What the agent has, as far as is known.
#[derive(Debug)]
enum Has<S> {
    /// Nothing that an update could build on.
    Unknown,
    /// What its hello named.
    Said(Revision),
    /// What it acknowledged.
    State(Arc<S>),
}

/// The kinds of updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The agent has the state already.
    Current,
    /// From what it has.
    Delta,
    /// From anywhere.
    Full,
}

/// An update that was sent.
#[derive(Debug)]
struct Sent<S> {
    state: Arc<S>,
    kind: Kind,
    /// What the table has gone on from once nft has taken it.
    leaves: Superseded,
    at: Instant,
}

/// An update that did not reach the kernel.
#[derive(Debug)]
struct Refused<S> {
    state: Arc<S>,
    kind: Kind,
    leaves: Superseded,
    /// When a newer state may be sent.
    newer: Instant,
    /// When the same may be sent once more; `None`: the agent itself tries again.
    again: Option<Instant>,
}

/// What there is to do for a desired state.
#[derive(Debug)]
pub(super) enum Due<S> {
    /// Nothing until an answer or another state comes.
    Nothing,
    /// Nothing before this moment.
    At(Instant),
    /// The agent has not answered for too long.
    Overdue,
    /// Say that the agent has it.
    Current,
    /// Send a delta from this state, or a full script.
    From(Arc<S>),
    /// Send a full script.
    Full,
}

/// What an answer comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is left to do.
    Settled,
    /// The update, or what follows it, is sent again after a pause.
    Resend(Duration),
}

/// The compiler's side of a stream.
#[derive(Debug)]
pub(super) struct Session<S> {
    has: Has<S>,
    /// What the agent's table has gone on from and may still hold markers of. If that is wrong, a delta is refused at
    /// worst.
    superseded: Superseded,
    sent: Option<Sent<S>>,
    refused: Option<Refused<S>>,
    /// The next pause before the same is sent again.
    pause: Duration,
    limits: Limits,
}

impl<S: State> Session<S> {
    /// After a hello that named `applied` and `superseded`.
    pub(super) fn new(applied: Option<Revision>, superseded: Superseded, limits: Limits) -> Self {
        let has = applied.map_or(Has::Unknown, Has::Said);
        Self { has, superseded, sent: None, refused: None, pause: limits.resend_first, limits }
    }

    /// The state that the agent acknowledged last.
    pub(super) const fn state(&self) -> Option<&Arc<S>> {
        match &self.has {
            Has::State(state) => Some(state),
            Has::Unknown | Has::Said(_) => None,
        }
    }

    /// What the agent's table has gone on from.
    pub(super) const fn superseded(&self) -> &Superseded {
        &self.superseded
    }

    /// What to do for `desired`.
    pub(super) fn due(&self, desired: &S, now: Instant) -> Due<S> {
        if let Some(sent) = &self.sent {
            let limit = sent.at + self.limits.ack;
            return if now < limit { Due::At(limit) } else { Due::Overdue };
        }
        let Some(refused) = &self.refused else {
            return match &self.has {
                Has::State(state) if state.revision() == desired.revision() => Due::Nothing,
                Has::State(state) => Due::From(Arc::clone(state)),
                Has::Said(revision) if revision == desired.revision() => Due::Current,
                // The one place where a state that an earlier stream had could be looked up.
                Has::Said(_) | Has::Unknown => Due::Full,
            };
        };
        let again = refused.state.revision() == desired.revision();
        match if again { refused.again } else { Some(refused.newer) } {
            None => Due::Nothing,
            Some(at) if now < at => Due::At(at),
            // Back to what the agent had before: it only has to forget what it holds and tries again.
            Some(_) if refused.kind != Kind::Current && self.has(desired) => Due::Current,
            Some(_) => Due::Full,
        }
    }

    /// An update was sent that leaves markers behind.
    pub(super) fn sent(&mut self, state: Arc<S>, kind: Kind, leaves: Superseded, now: Instant) {
        self.sent = Some(Sent { state, kind, leaves, at: now });
    }

    /// The agent has answered.
    pub(super) fn answered(&mut self, ack: &Ack, now: Instant) -> Verdict {
        // An answer without a revision is to an update whose revision could not be read.
        let answers = |state: &S| ack.revision.as_ref().is_none_or(|revision| revision == state.revision());
        if let Some(sent) = self.sent.take_if(|sent| answers(&sent.state)) {
            return if ack.outcome.is_success() {
                self.settle(sent.state, sent.leaves, ack.outcome)
            } else {
                self.refuse(sent, ack.outcome, now)
            };
        }
        // The agent's own later attempt at something that nft had refused.
        if ack.outcome.is_success()
            && self.sent.is_none()
            && let Some(refused) = self.refused.take_if(|refused| answers(&refused.state))
        {
            return self.settle(refused.state, refused.leaves, ack.outcome);
        }
        Verdict::Settled
    }

    fn settle(&mut self, state: Arc<S>, leaves: Superseded, outcome: Outcome) -> Verdict {
        self.has = Has::State(state);
        // Also a full script may find its state in place: then the table holds what it held.
        if outcome != Outcome::Unchanged {
            self.superseded = leaves;
        }
        self.refused = None;
        self.pause = self.limits.resend_first;
        Verdict::Settled
    }

    fn refuse(&mut self, sent: Sent<S>, outcome: Outcome, now: Instant) -> Verdict {
        let Sent { state, kind, leaves, .. } = sent;
        if outcome == Outcome::BaseMismatch {
            self.has = Has::Unknown;
        }
        let newer = now + self.limits.resend_first;
        // A full script that nft refused is held and tried again by the agent.
        let held = kind == Kind::Full
            && matches!(
                outcome,
                Outcome::NftFailed | Outcome::NftTimedOut | Outcome::NftKilled | Outcome::NftMissing
            );
        let pause = self.pause;
        let again = (!held).then(|| now + pause);
        self.refused = Some(Refused { state, kind, leaves, newer, again });
        if held {
            return Verdict::Settled;
        }
        self.pause = (pause * 2).min(self.limits.resend_longest);
        Verdict::Resend(pause)
    }

    fn has(&self, desired: &S) -> bool {
        matches!(&self.has, Has::State(state) if state.revision() == desired.revision())
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
