//! What the agent of one node has said. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flock_compiler_core::Unjudged;
use flock_compiler_core::object::Facts;
use flock_proto::{Ack, Outcome};
use flock_shared::Revision;

use crate::engine::{Published, Sequence};

/// What the agent of one node has said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentStatus {
    /// The newest stream, while it is open.
    pub stream: Option<StreamId>,
    /// When the newest stream was opened or, if it has ended, when that was.
    pub stream_since: Option<SystemTime>,
    /// Since when what the node should have has not stood there, while it does not, as far as its newest stream knows.
    pub lacks_since: Option<SystemTime>,
    /// Version of the agent.
    pub agent_version: String,
    /// Its guard takes no script of this compiler, which therefore sends it none.
    pub is_too_old: bool,
    /// Version of its nft.
    pub nft_version: String,
    /// What stands in the kernel, and since when that is known.
    pub applied: Option<(Revision, SystemTime)>,
    /// How long the newest successful update took.
    pub took: Option<Duration>,
    /// The newest failure since the last success.
    pub failure: Option<UpdateFailure>,
    /// How often since its start it has found the table changed by something else, once it has said so.
    pub drifts: Option<u32>,
    /// What the newest hello, or a message since, said of the node.
    pub facts: Option<Arc<Facts>>,
    /// The pass of this process whose state it has acknowledged, or a later one of its node's.
    pub acknowledged: Option<Sequence>,
    /// Why it is sent the closed form, in nft's words; `None` while it is not.
    pub closed: Option<String>,
}

/// How far a node is with what it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeProgress {
    /// It has that, or something later.
    Reached,
    /// Its agent is here, and has not acknowledged it yet.
    Behind,
    /// Its agent is with another replica, or with none.
    Away,
}

/// An update that did not reach the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateFailure {
    /// The update's revision, if it could be told.
    pub revision: Option<Revision>,
    /// What became of the update.
    pub outcome: Outcome,
    /// The agent's message.
    pub error: String,
    /// When it was acknowledged.
    pub at: SystemTime,
}

/// Tells streams of one node apart; a later one has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub(super) u64);

impl AgentStatus {
    /// Why what passes on its node is not judged, where this is published for it; empty if it is judged, or nobody says.
    #[must_use]
    pub fn unjudged(&self, published: Option<&Published>) -> Vec<Unjudged> {
        let none = BTreeSet::new();
        let bridges = published.map_or(&none, |it| &it.output().node_rules().links.pod_bridges);
        self.facts.as_ref().map(|facts| facts.unjudged(bridges)).unwrap_or_default()
    }

    /// Returns true if its agent is here, and is sent what its node should have.
    pub(super) const fn is_here(&self) -> bool {
        self.stream.is_some() && !self.is_too_old
    }

    /// How far its node is with what a pass has published for it.
    pub(super) fn progress(&self, sequence: Sequence) -> NodeProgress {
        match self.acknowledged {
            // Who is sent nothing comes to have nothing.
            _ if !self.is_here() => NodeProgress::Away,
            Some(acknowledged) if acknowledged >= sequence => NodeProgress::Reached,
            _ => NodeProgress::Behind,
        }
    }

    /// Takes down how often the agent has found its table changed since its start; how many of that are news. What an
    /// agent brings that has never been heard of, another replica may have counted.
    pub(super) fn found(&mut self, drifts: u32) -> u32 {
        match self.drifts.replace(drifts) {
            None => 0,
            // It has started anew since.
            Some(before) if drifts < before => drifts,
            Some(before) => drifts - before,
        }
    }

    pub(super) fn acknowledged(&mut self, ack: &Ack, now: SystemTime) {
        match &ack.revision {
            Some(revision) if ack.outcome.is_success() => {
                // A table that was put back says nothing of the newer script that nft still refuses.
                let put_back = self.applied.as_ref().is_some_and(|(applied, _)| applied == revision);
                if !put_back || self.failure.as_ref().is_some_and(|f| f.revision.as_ref() == Some(revision)) {
                    self.failure = None;
                }
                self.took = Some(ack.took);
                if !put_back {
                    self.applied = Some((revision.clone(), now));
                }
            }
            revision => {
                let revision = revision.clone();
                self.failure =
                    Some(UpdateFailure { revision, outcome: ack.outcome, error: ack.error.clone(), at: now });
            }
        }
    }
}
