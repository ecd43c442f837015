//! An open stream of an agent, by which its node's status changes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flock_compiler_core::object::Facts;
use flock_proto::{Ack, NodeFacts};
use flock_shared::NodeName;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::acknowledged::NodeAcks;
use super::status::{AgentStatus, StreamId};
use crate::engine::{Published, Sequence};
use crate::facts;

/// What is said where the words are not known.
pub(super) const EARLIER: &str = "refused on an earlier stream";

/// One agent. Those that watch it are woken by its own news only.
pub(super) type AgentEntry = Arc<watch::Sender<AgentStatus>>;

/// An open stream; it counts as its node's until a newer one comes or it is dropped.
#[derive(Debug)]
pub struct OpenStream {
    pub(super) agent: AgentEntry,
    pub(super) acks: Arc<Mutex<NodeAcks>>,
    pub(super) node: NodeName,
    pub(super) id: StreamId,
    pub(super) drifts: u32,
    pub(super) has_changed: bool,
}

impl OpenStream {
    /// The agent has acknowledged an update; how often it has found its table changed since it was heard last.
    pub fn acknowledged(&self, ack: &Ack) -> u32 {
        let mut drifts = 0;
        self.agent.send_modify(|status| {
            drifts = status.found(ack.drifts);
            status.acknowledged(ack, SystemTime::now());
        });
        drifts
    }

    /// What stands on the node is this state, which this pass has published for it. Returns true if that is news.
    pub fn reached(&self, sequence: Sequence, state: &Arc<Published>) -> bool {
        self.agent.send_if_modified(|status| {
            // Of an older stream nothing counts: the agent may have come again with an older table.
            let is_news = status.stream == Some(self.id) && status.acknowledged < Some(sequence);
            if is_news {
                status.acknowledged = Some(sequence);
                self.acks.lock().reached(sequence, state, SystemTime::now());
            }
            is_news
        })
    }

    /// Since when what stands on the node has not been what it should have; `None`: it is.
    pub fn lacks(&self, since: Option<SystemTime>) {
        self.agent.send_if_modified(|status| {
            // Of several states that came meanwhile, the first is the one that it has lacked for longest.
            let since = since.map(|since| status.lacks_since.unwrap_or(since));
            let is_news = status.stream == Some(self.id) && status.lacks_since != since;
            if is_news {
                status.lacks_since = since;
            }
            is_news
        });
    }

    /// Why the agent is sent the closed form, if it is; the words are empty if they went to an earlier stream.
    pub fn closed(&self, words: Option<&str>) {
        self.agent.send_if_modified(|status| match (words, &status.closed) {
            (None, None) => false,
            // nft's own words are kept until there are others: those of an earlier stream are all that there is.
            (Some(words), Some(known)) if words.is_empty() || words == known => false,
            (words, _) => {
                let unknown = |words: &str| if words.is_empty() { EARLIER } else { words }.to_owned();
                status.closed = words.map(unknown);
                true
            }
        });
    }

    /// The agent says what its node is like. An older stream than the newest of the node has no say any more.
    pub fn said(&self, facts: &NodeFacts) {
        self.agent.send_if_modified(|status| {
            let capabilities =
                status.facts.as_deref().map(facts::AgentCapabilities::from).unwrap_or_default();
            let facts = Some(Arc::new(facts::of_node(self.node.clone(), facts, capabilities)));
            let is_news = status.stream == Some(self.id) && status.facts != facts;
            if is_news {
                status.facts = facts;
            }
            is_news
        });
    }

    /// What the agent's newest words say of its node.
    #[must_use]
    pub fn facts(&self) -> Option<Arc<Facts>> {
        self.agent.borrow().facts.clone()
    }

    /// For how long this state has stood on the node, if it is what stands there.
    #[must_use]
    pub fn stood_for(&self, state: &Published) -> Option<Duration> {
        let acks = self.acks.lock();
        let standing = acks.standing().filter(|standing| standing.state.revision() == state.revision())?;
        standing.since.elapsed().ok()
    }

    /// Returns true if the node's table has changed since it was heard of last, as far as that is known.
    #[must_use]
    pub const fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// How often the agent had found its table changed when the stream was opened, since the one before.
    #[must_use]
    pub const fn drifts(&self) -> u32 {
        self.drifts
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.agent.send_if_modified(|status| {
            // A newer stream may have been opened before this one was found dead.
            let was_newest = status.stream.take_if(|stream| *stream == self.id).is_some();
            if was_newest {
                status.stream_since = Some(SystemTime::now());
            }
            was_newest
        });
    }
}
