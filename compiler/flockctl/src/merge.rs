//! One view of the nodes out of what several replicas say. Pure.
//!
//! Each agent has its stream with one replica, so of a node that one's word counts; where none has it, the word of the one
//! that heard of it last. If not all replicas were asked, a node without a stream may be another one's: it is not known.

use std::collections::{BTreeMap, BTreeSet};

use flock_proto::v1::{ListNodesResponse, NodeStatus};
use flock_proto::{NodeState, Others, Sight};

/// A replica's name and its answer.
pub(crate) type Answer = (String, ListNodesResponse);

/// A node, as all replicas that were asked know it together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) state: NodeState,
    /// Without what is not known.
    pub(crate) status: NodeStatus,
    /// The replica that has its stream.
    pub(crate) replica: Option<String>,
}

impl Row {
    /// Returns true if its agent may have its stream with a replica that was not asked.
    pub(crate) fn is_not_known(&self) -> bool {
        self.state == NodeState::NotKnown
    }

    /// Returns true if it is as it should be.
    pub(crate) fn is_current(&self) -> bool {
        self.state == NodeState::Current
    }
}

/// How many replicas were asked, and of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) asked: usize,
    /// `None`: how many there are is not known.
    pub(crate) total: Option<usize>,
}

impl Asked {
    /// Of those that were `named`, so many have answered, each saying how many there are; 0: it does not know.
    pub(crate) fn of_named(named: usize, answered: usize, said: impl Iterator<Item = u32>) -> Self {
        let said = usize::try_from(said.max().unwrap_or_default()).unwrap_or_default();
        let total = match (said, named) {
            // Whoever names several names all.
            (0, 2..) => Some(named),
            (0, _) => None,
            // What compilers count may be behind who has answered, and nobody can have been asked who is not there.
            (said, _) => Some(said.max(answered)),
        };
        Self { asked: answered, total }
    }

    /// Whether others may have streams.
    pub(crate) fn others(self) -> Others {
        match self.total {
            Some(total) if self.asked >= total => Others::Asked,
            _ => Others::MayServe,
        }
    }
}

/// Without the answers of those that have answered already, by another name.
pub(crate) fn distinct(answers: Vec<Answer>) -> Vec<Answer> {
    let mut seen = BTreeSet::new();
    // Two URLs may lead to one process: counted twice, it would hide that another one was not asked. Older compilers
    // tell no instance, and count each.
    let is_new = |(_, answer): &Answer| answer.instance.is_empty() || seen.insert(answer.instance.clone());
    answers.into_iter().filter(is_new).collect()
}

/// All nodes, by name.
pub(crate) fn rows(answers: &[Answer], others: Others) -> Vec<Row> {
    let mut seen: BTreeMap<&str, Vec<(&str, &NodeStatus)>> = BTreeMap::new();
    for (replica, answer) in answers {
        for status in &answer.nodes {
            seen.entry(&status.node).or_default().push((replica, status));
        }
    }
    seen.into_values().filter_map(|seen| row(&seen, others)).collect()
}

/// A node as these replicas see it; `None` if there is none: a wrong name goes with its agent.
pub(crate) fn row(seen: &[(&str, &NodeStatus)], others: Others) -> Option<Row> {
    let newest = |status: &NodeStatus| {
        // Older compilers do not say since when there is a stream.
        status.stream_since.or(status.applied_since).map(|at| (at.seconds, at.nanos))
    };
    // A stream that is half open still counts as connected: of several, the newest is the one that its agent has.
    // The first of equals.
    let heard = seen.iter().rev().max_by_key(|(_, status)| (status.connected, newest(status)));
    let (replica, status) = heard.filter(|(_, status)| status.connected || !status.unknown)?;
    let state = NodeState::of(Sight::from(*status), others);
    let status = match state {
        NodeState::NotKnown => wanted(status),
        // How many replicas there are is no property of the node: a watch would print it again for each that comes.
        _ => NodeStatus { replicas: 0, ..(*status).clone() },
    };
    let replica = status.connected.then(|| (*replica).to_owned());
    Some(Row { state, status, replica })
}

/// What is known of a node without its agent.
fn wanted(status: &NodeStatus) -> NodeStatus {
    NodeStatus {
        node: status.node.clone(),
        desired_revision: status.desired_revision.clone(),
        desired_since: status.desired_since,
        script_bytes: status.script_bytes,
        isolated_pods: status.isolated_pods,
        ..NodeStatus::default()
    }
}

/// The replicas that have not read `now` what another one had seen `before`, in words.
pub(crate) fn lagging(before: &[Answer], now: &[Answer]) -> Vec<String> {
    let mut told = Vec::new();
    for (name, answer) in now {
        let through = versions(&answer.through);
        let mut gaps: BTreeMap<&str, (u128, u128, &str)> = BTreeMap::new();
        for (other, ahead) in before.iter().filter(|(other, _)| other != name) {
            for (kind, seen) in versions(&ahead.seen) {
                // Of a kind that a replica says nothing of, nothing can be told.
                let Some(read) = through.get(kind).filter(|read| **read < seen) else { continue };
                let gap = gaps.entry(kind).or_insert((*read, seen, other));
                // One gap for each kind, the widest: the others would say the same of more replicas.
                if gap.1 < seen {
                    *gap = (*read, seen, other);
                }
            }
        }
        if !gaps.is_empty() {
            let gaps: Vec<String> = gaps
                .into_iter()
                .map(|(kind, (read, seen, other))| format!("{kind} {seen} of {other}, it is at {read}"))
                .collect();
            told.push(format!("{name} is at older objects: it has not read {}", gaps.join("; ")));
        }
    }
    told
}

/// Versions by kind; what is none is passed over.
fn versions(text: &str) -> BTreeMap<&str, u128> {
    let entries = text.split(',').filter_map(|entry| entry.split_once('='));
    entries.filter_map(|(kind, version)| Some((kind, version.parse().ok()?))).collect()
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
