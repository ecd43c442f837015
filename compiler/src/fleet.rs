//! What the agents say of themselves. It feeds status and metrics, never translation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use flock_proto::{Ack, Hello, Outcome};
use flock_shared::{NodeName, Revision};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::Versions;

/// What the agent of one node has said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentStatus {
    /// The newest stream, while it is open.
    pub stream: Option<StreamId>,
    /// Version of the agent.
    pub agent_version: String,
    /// Version of its nft.
    pub nft_version: String,
    /// What stands in the kernel, and since when that is known.
    pub applied: Option<(Revision, SystemTime)>,
    /// How long the newest successful update took.
    pub took: Option<Duration>,
    /// The newest failure since the last success.
    pub failure: Option<Failure>,
}

/// An update that did not reach the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
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
pub struct StreamId(u64);

/// The status of all agents.
#[derive(Debug, Default)]
pub struct Fleet {
    agents: Mutex<BTreeMap<NodeName, AgentStatus>>,
    /// Positions that this replica has not reached, and since when they have been asked for.
    out_of_reach: Mutex<BTreeMap<NodeName, (Versions, Instant)>>,
    streams: AtomicU64,
    changed: watch::Sender<()>,
}

impl Fleet {
    /// An agent has opened a stream; it counts as the node's until a newer one comes.
    pub fn opened(&self, hello: &Hello) -> StreamId {
        let id = StreamId(self.streams.fetch_add(1, Ordering::Relaxed));
        let mut agents = self.lock();
        let status = agents.entry(hello.node.clone()).or_default();
        status.stream = Some(id);
        status.agent_version.clone_from(&hello.agent_version);
        status.nft_version.clone_from(&hello.nft_version);
        let known = status.applied.as_ref().map(|(revision, _)| revision);
        if known != hello.applied.as_ref() {
            status.applied = hello.applied.clone().map(|revision| (revision, SystemTime::now()));
        }
        drop(agents);
        self.changed.send_replace(());
        id
    }

    /// An agent has acknowledged an update.
    pub fn acknowledged(&self, node: &NodeName, ack: &Ack) {
        let mut agents = self.lock();
        let status = agents.entry(node.clone()).or_default();
        let now = SystemTime::now();
        match &ack.revision {
            Some(revision) if ack.outcome.is_success() => {
                // A table that was put back says nothing of the newer script that nft still refuses.
                let put_back = status.applied.as_ref().is_some_and(|(applied, _)| applied == revision);
                if !put_back || status.failure.as_ref().is_some_and(|f| f.revision.as_ref() == Some(revision))
                {
                    status.failure = None;
                }
                status.took = Some(ack.took);
                if status.applied.as_ref().map(|(applied, _)| applied) != Some(revision) {
                    status.applied = Some((revision.clone(), now));
                }
            }
            revision => {
                let revision = revision.clone();
                status.failure =
                    Some(Failure { revision, outcome: ack.outcome, error: ack.error.clone(), at: now });
            }
        }
        drop(agents);
        self.changed.send_replace(());
    }

    /// An agent has applied `wanted`, which this replica has not reached. Since when the agent has asked for something
    /// that still is out of reach; `is_still` tells that of what it asked for earlier.
    pub fn out_of_reach(
        &self,
        node: &NodeName,
        wanted: &Versions,
        is_still: impl FnOnce(&Versions) -> bool,
    ) -> Instant {
        let mut positions = lock(&self.out_of_reach);
        let now = (wanted.clone(), Instant::now());
        let earliest = positions.entry(node.clone()).or_insert_with(|| now.clone());
        if !is_still(&earliest.0) {
            *earliest = now;
        }
        earliest.1
    }

    /// An agent can be served.
    pub fn within_reach(&self, node: &NodeName) {
        lock(&self.out_of_reach).remove(node);
    }

    /// A stream has ended.
    pub fn closed(&self, node: &NodeName, stream: StreamId) {
        let mut agents = self.lock();
        if let Some(status) = agents.get_mut(node).filter(|status| status.stream == Some(stream)) {
            status.stream = None;
        }
        drop(agents);
        self.changed.send_replace(());
    }

    /// The status of every agent that was ever heard of.
    #[must_use]
    pub fn all(&self) -> BTreeMap<NodeName, AgentStatus> {
        self.lock().clone()
    }

    /// The status of one node's agent; the default if it was never heard of.
    #[must_use]
    pub fn status(&self, node: &NodeName) -> AgentStatus {
        self.lock().get(node).cloned().unwrap_or_default()
    }

    /// Changes whenever some status may have changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeName, AgentStatus>> {
        lock(&self.agents)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Everything is replaced field by field without panicking in between: a poisoned lock is still sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
