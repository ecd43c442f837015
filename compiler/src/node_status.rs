//! How a node stands: what is published for it against what its agent says. Pure.

use std::time::SystemTime;

use flock_proto::{NodeState, Others, Sight};

use crate::engine::{Presence, Published};
use crate::fleet::AgentStatus;

/// The state of a node that is published like this, and whose agent has said this.
#[must_use]
pub fn state(published: Option<&Published>, agent: Option<&AgentStatus>, others: Others) -> NodeState {
    let applied = agent.and_then(|agent| agent.applied.as_ref()).map(|(revision, _)| revision);
    let sight = Sight {
        connected: agent.is_some_and(|agent| agent.stream.is_some()),
        heard: agent.is_some_and(|agent| agent.stream_since.is_some()),
        too_old: agent.is_some_and(|agent| agent.is_too_old),
        closed: agent.is_some_and(|agent| agent.closed.is_some()),
        failing: agent.is_some_and(|agent| agent.failure.is_some()),
        unknown: published.is_some_and(|published| published.presence() == Presence::Unknown),
        unjudged: agent.is_some_and(|agent| !agent.unjudged(published).is_empty()),
        applied: published.is_some_and(|published| applied == Some(published.revision())),
    };
    NodeState::of(sight, others)
}

/// Returns true if a node is one of the cluster's, or somebody says that he is there. A wrong name goes with its agent.
#[must_use]
pub fn is_listed(published: Option<&Published>, agent: Option<&AgentStatus>) -> bool {
    published.is_some_and(|published| published.presence() == Presence::Known)
        || agent.is_some_and(|agent| agent.stream.is_some())
}

/// Since when what is published for a node has not stood there, or nobody has been heard of there; `None`: it stands, or it is
/// not known.
#[must_use]
pub fn behind_since(published: Option<&Published>, agent: &AgentStatus) -> Option<SystemTime> {
    let lacks = published.filter(|published| {
        agent.applied.as_ref().is_none_or(|(revision, _)| revision != published.revision())
    });
    let left = agent.stream_since.filter(|_| agent.stream.is_none());
    match (lacks, left) {
        // Whoever was behind when it left may have got what it lacked of another replica, and nobody has heard of it since.
        (Some(_), Some(left)) => Some(agent.lacks_since.map_or(left, |lacks| lacks.min(left))),
        (None, left @ Some(_)) => left,
        (Some(published), None) => {
            agent.stream.map(|_| agent.lacks_since.unwrap_or_else(|| published.since()))
        }
        (None, None) => None,
    }
}
