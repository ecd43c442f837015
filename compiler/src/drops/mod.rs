//! Drops: what agents tell of flows that policies denied, kept for whoever asks, and handed on to whoever watches. It
//! judges nothing.
//!
//! ```text
//! agent's stream ─▶ DropsHub::record ─┬─▶ per node: the last flows with their totals ──▶ flows, totals
//!                                     └─▶ broadcast, bounded ──▶ DropsWatcher (one that stalls misses some)
//! DropsHub::wanted ──▶ each stream tells its agent whether somebody watches
//! ```
//!
//! Memory is bounded, whatever nodes say: a node has so many flows at most, and where all have too many, the one with the
//! most loses its oldest. So a node that was taken over fills its own share, and hides its own flows alone.

mod count;
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use flock_proto::{DropKey, Drops, DropsWanted};
use flock_shared::NodeName;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

pub(crate) use count::count;
use node::NodeFlows;
pub use node::{KnownFlow, NodeTotals};

/// Flows that are kept of all nodes: some 40 MB with IPv6.
pub const FLOWS_KEPT: usize = 131_072;
/// Flows that are kept of one node at most.
pub const FLOWS_OF_NODE: usize = 1024;
/// Batches that wait for a watcher; one that is slower misses the oldest. A batch takes 40 KB at most.
const BATCHES: usize = 256;

/// So many watch at most: what is told is judged for each of them.
const WATCHERS: usize = 64;
/// Agents are asked once for all who ask within this.
const TOGETHER: Duration = Duration::from_secs(1);

/// What one node has told at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDrops {
    /// The node.
    pub node: NodeName,
    /// When it was told, by this machine's clock.
    pub at: SystemTime,
    /// What.
    pub drops: Drops,
}

/// Keeps what nodes tell.
#[derive(Debug)]
pub struct DropsHub {
    kept: Mutex<FlowStore>,
    batches: broadcast::Sender<Arc<NodeDrops>>,
    wanted: watch::Sender<DropsWanted>,
    watchers: Mutex<usize>,
    /// When agents were last asked.
    asked: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct FlowStore {
    nodes: BTreeMap<NodeName, NodeFlows>,
    /// How many flows each node has, the most last.
    sizes: BTreeSet<(usize, NodeName)>,
    flows: usize,
}

impl Default for DropsHub {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            batches: broadcast::channel(BATCHES).0,
            wanted: watch::channel(DropsWanted::default()).0,
            watchers: Mutex::default(),
            asked: Mutex::default(),
        }
    }
}

/// Nothing in here panics with a lock in hand, and what is kept is true after each step.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DropsHub {
    /// A node has told this at that time.
    pub fn record(&self, node: &NodeName, drops: Drops, at: SystemTime) {
        locked(&self.kept).record(node, &drops, at);
        // Nobody watches.
        let _ = self.batches.send(Arc::new(NodeDrops { node: node.clone(), at, drops }));
    }

    /// Hands on what is told from here on; `None`: too many watch already. Agents tell first packets at once for as long as
    /// anybody watches.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>) -> Option<DropsWatcher> {
        let batches = self.batches.subscribe();
        let mut watchers = locked(&self.watchers);
        if *watchers >= WATCHERS {
            return None;
        }
        *watchers += 1;
        // Under the lock: the last who goes must not switch off what the next one has switched on.
        self.wanted.send_if_modified(|wanted| !std::mem::replace(&mut wanted.watched, true));
        Some(DropsWatcher { hub: Arc::clone(self), batches })
    }

    /// The same without anybody who waits for it: agents tell what they have counted, now and then.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<NodeDrops>> {
        self.batches.subscribe()
    }

    /// Asks all agents to tell at once what has been counted; those who ask within a second are answered together.
    pub fn ask(&self) {
        let now = Instant::now();
        let before = locked(&self.asked).replace(now);
        if let Some(before) = before.filter(|before| now.saturating_duration_since(*before) < TOGETHER) {
            // It counts from the last reading: who asks all the time still gets one.
            *locked(&self.asked) = Some(before);
            return;
        }
        self.wanted.send_modify(|wanted| wanted.reading = wanted.reading.wrapping_add(1));
    }

    /// What agents are to tell.
    #[must_use]
    pub fn wanted(&self) -> watch::Receiver<DropsWanted> {
        self.wanted.subscribe()
    }

    /// The flows that are kept of a node, or of all, those with the newest packets first within each.
    #[must_use]
    pub fn flows(&self, node: Option<&NodeName>) -> Vec<(NodeName, DropKey, KnownFlow)> {
        let kept = locked(&self.kept);
        let of = |(name, flows): (&NodeName, &NodeFlows)| -> Vec<_> {
            flows.newest_first().map(|(key, flow)| (name.clone(), key, flow)).collect()
        };
        match node {
            Some(name) => kept.nodes.get_key_value(name).into_iter().flat_map(of).collect(),
            None => kept.nodes.iter().flat_map(of).collect(),
        }
    }

    /// A flow that is kept of a node.
    #[must_use]
    pub fn flow(&self, node: &NodeName, key: &DropKey) -> Option<KnownFlow> {
        locked(&self.kept).nodes.get(node)?.flow(key)
    }

    /// What all flows of a node came to, those among them that are not kept.
    #[must_use]
    pub fn totals(&self, node: &NodeName) -> Option<NodeTotals> {
        locked(&self.kept).nodes.get(node).map(|flows| flows.totals)
    }

    /// Forgets nodes that are gone.
    pub fn forget(&self, is_gone: impl Fn(&NodeName) -> bool) {
        let mut kept = locked(&self.kept);
        let gone: Vec<NodeName> = kept.nodes.keys().filter(|node| is_gone(node)).cloned().collect();
        for node in gone {
            kept.resize(&node, 0);
            kept.nodes.remove(&node);
        }
    }

    fn unsubscribe(&self) {
        let mut watchers = locked(&self.watchers);
        *watchers = watchers.saturating_sub(1);
        let is_watched = *watchers > 0;
        self.wanted
            .send_if_modified(|wanted| std::mem::replace(&mut wanted.watched, is_watched) != is_watched);
    }
}

impl FlowStore {
    fn record(&mut self, node: &NodeName, drops: &Drops, at: SystemTime) {
        let flows = self.nodes.entry(node.clone()).or_default();
        flows.record(drops, at);
        while flows.len() > FLOWS_OF_NODE {
            flows.forget_oldest();
        }
        let size = flows.len();
        self.resize(node, size);
        while self.flows > FLOWS_KEPT {
            // The node with the most loses its own: one that was taken over pays for what it makes up.
            let Some((size, most)) = self.sizes.last().cloned() else { return };
            if let Some(flows) = self.nodes.get_mut(&most) {
                flows.forget_oldest();
            }
            self.resize(&most, size.saturating_sub(1));
        }
    }

    /// A node has so many flows.
    fn resize(&mut self, node: &NodeName, size: usize) {
        let Some(flows) = self.nodes.get_mut(node) else { return };
        let before = std::mem::replace(&mut flows.counted, size);
        if before == size {
            return;
        }
        self.sizes.remove(&(before, node.clone()));
        if size > 0 {
            self.sizes.insert((size, node.clone()));
        }
        self.flows = (self.flows + size).saturating_sub(before);
    }
}

/// What a watcher hears next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DropsEvent {
    /// What a node has told.
    Drops(Arc<NodeDrops>),
    /// So many batches were missed: the watcher was too slow.
    Missed(u64),
}

/// Hears what nodes tell.
#[derive(Debug)]
pub struct DropsWatcher {
    hub: Arc<DropsHub>,
    batches: broadcast::Receiver<Arc<NodeDrops>>,
}

impl DropsWatcher {
    /// The next; `None`: there will be none.
    pub async fn next(&mut self) -> Option<DropsEvent> {
        match self.batches.recv().await {
            Ok(drops) => Some(DropsEvent::Drops(drops)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(DropsEvent::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Drop for DropsWatcher {
    fn drop(&mut self) {
        self.hub.unsubscribe();
    }
}

#[cfg(test)]
mod tests;
