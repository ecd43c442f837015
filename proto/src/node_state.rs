//! What state a node is in, in one word: the same in the compiler's metrics and in what its clients print.

use std::fmt;

use crate::v1;

/// The state of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// The kernel has what the objects ask for, and nothing passes it by.
    Current,
    /// It does not have it yet.
    Behind,
    /// The newest update failed.
    Failing,
    /// It is sent the closed form, since it has refused the normal one.
    Closed,
    /// Its agent takes no script of this version of the compiler, is sent none, and keeps the table that it has.
    TooOld,
    /// The table stands, and something passes it by.
    NotJudged,
    /// An agent has this name, and neither a Node object nor a pod does.
    Unknown,
    /// No agent has come since the compilers started.
    NoAgent,
    /// Its agent was there and has no stream.
    Offline,
    /// Its agent may have its stream with a compiler that was not asked.
    NotKnown,
}

/// Whether compilers that were not asked may have a node's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// All there are were asked.
    Asked,
    /// There may be more.
    MayServe,
}

/// What compilers see of a node, as far as its state depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and all combinations occur")]
pub struct Sight {
    /// A stream is open.
    pub connected: bool,
    /// An agent has been there.
    pub heard: bool,
    /// The agent takes no script of the compiler.
    pub too_old: bool,
    /// The closed form is sent.
    pub closed: bool,
    /// The newest update failed.
    pub failing: bool,
    /// No object names it.
    pub unknown: bool,
    /// Something passes unjudged.
    pub unjudged: bool,
    /// The desired revision stands in the kernel.
    pub applied: bool,
}

impl NodeState {
    /// All of them, those that are as they should be first.
    pub const ALL: [Self; 10] = [
        Self::Current,
        Self::Behind,
        Self::Failing,
        Self::Closed,
        Self::TooOld,
        Self::NotJudged,
        Self::Unknown,
        Self::NoAgent,
        Self::Offline,
        Self::NotKnown,
    ];

    /// The state of a node that is seen like this.
    #[must_use]
    pub const fn of(sight: Sight, others: Others) -> Self {
        // What was heard on a stream that has ended may be over: first of all it counts who is heard now.
        match sight {
            Sight { connected: false, .. } if matches!(others, Others::MayServe) => Self::NotKnown,
            Sight { connected: false, heard: false, .. } => Self::NoAgent,
            Sight { connected: false, .. } => Self::Offline,
            Sight { too_old: true, .. } => Self::TooOld,
            Sight { closed: true, .. } => Self::Closed,
            Sight { failing: true, .. } => Self::Failing,
            Sight { unknown: true, .. } => Self::Unknown,
            Sight { unjudged: true, .. } => Self::NotJudged,
            Sight { applied: true, .. } => Self::Current,
            Sight { .. } => Self::Behind,
        }
    }

    /// Returns true if the node's agent has a stream with a compiler that was asked.
    #[must_use]
    pub const fn is_served(self) -> bool {
        match self {
            Self::Current
            | Self::Behind
            | Self::Failing
            | Self::Closed
            | Self::TooOld
            | Self::NotJudged
            | Self::Unknown => true,
            Self::NoAgent | Self::Offline | Self::NotKnown => false,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Behind => "behind",
            Self::Failing => "failing",
            Self::Closed => "closed",
            Self::TooOld => "too old",
            Self::NotJudged => "not judged",
            Self::Unknown => "unknown",
            Self::NoAgent => "no agent",
            Self::Offline => "offline",
            Self::NotKnown => "not known",
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<&v1::NodeStatus> for Sight {
    fn from(status: &v1::NodeStatus) -> Self {
        Self {
            connected: status.connected,
            heard: status.stream_since.is_some() || !status.agent_version.is_empty(),
            too_old: status.too_old,
            closed: !status.closed.is_empty(),
            failing: status.last_outcome() != v1::Outcome::Unspecified,
            unknown: status.unknown,
            unjudged: !status.not_judged.is_empty(),
            applied: !status.desired_revision.is_empty()
                && status.desired_revision == status.applied_revision,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn who_is_not_heard_of_is_judged_by_who_was_asked() {
        let heard = Sight { heard: true, applied: true, failing: true, closed: true, ..Sight::default() };
        for (sight, others, state) in [
            (heard, Others::Asked, NodeState::Offline),
            (heard, Others::MayServe, NodeState::NotKnown),
            (Sight::default(), Others::Asked, NodeState::NoAgent),
            (Sight::default(), Others::MayServe, NodeState::NotKnown),
        ] {
            assert_eq!(NodeState::of(sight, others), state, "{sight:?} {others:?}");
        }
    }

    #[test]
    fn what_a_stream_says_counts_whoever_was_asked() {
        let here = Sight { connected: true, heard: true, ..Sight::default() };
        for (sight, state) in [
            (Sight { applied: true, ..here }, NodeState::Current),
            (here, NodeState::Behind),
            (Sight { applied: true, unjudged: true, ..here }, NodeState::NotJudged),
            (Sight { applied: true, unknown: true, ..here }, NodeState::Unknown),
            (Sight { failing: true, ..here }, NodeState::Failing),
            (Sight { failing: true, too_old: true, ..here }, NodeState::TooOld),
            (Sight { failing: true, closed: true, unjudged: true, ..here }, NodeState::Closed),
        ] {
            for others in [Others::Asked, Others::MayServe] {
                assert_eq!(NodeState::of(sight, others), state, "{sight:?}");
            }
        }
    }

    #[test]
    fn each_state_has_a_word_of_its_own() {
        let words: BTreeSet<&str> = NodeState::ALL.iter().map(|state| state.as_str()).collect();
        assert_eq!(words.len(), NodeState::ALL.len());
    }
}
