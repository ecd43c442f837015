//! For each node the newest state, which readers see when they look. Latest wins; nobody waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flock_compiler_core::{NodeChange, Pass, Translator};
use flock_shared::NodeName;
use tokio::sync::watch;

use super::handle::Desired;
use super::published::{DeltaStep, Presence, Published, Sequence};
use super::released::Released;

type StateSender = watch::Sender<Option<Arc<Published>>>;

/// The newest state of every node.
#[derive(Debug, Default)]
pub(super) struct NodeStates {
    senders: BTreeMap<NodeName, StateSender>,
    /// Nodes that somebody has asked for and nothing names.
    unknown_nodes: BTreeSet<NodeName>,
    sequence: Sequence,
    released: Released,
}

impl NodeStates {
    /// Publishes what a pass has changed; the nodes that are forgotten with it.
    pub(super) fn publish(&mut self, pass: Pass, translator: &Translator) -> Vec<NodeName> {
        self.sequence = self.sequence.next();
        let sequence = self.sequence;
        self.released.take_down(sequence, pass.released);
        for NodeChange { before, after, body } in pass.changes {
            // From the state before only: who is further back is served by comparing outputs.
            let step =
                before.zip(body).map(|(before, body)| DeltaStep { base: before.revision().clone(), body });
            // An agent may have asked for it before its Node object came.
            self.unknown_nodes.remove(after.node());
            let sender = self.senders.entry(after.node().clone()).or_insert_with(|| watch::channel(None).0);
            sender.send_replace(Some(Arc::new(Published::new(after, step, Presence::Known, sequence))));
        }
        self.unknown_nodes.extend(pass.gone);
        // Before the others are looked at: what nobody listens to need not be translated.
        let forgotten = self.sweep();
        // What there is for a node that nothing names may be another, too.
        for node in &self.unknown_nodes {
            let Some(sender) = self.senders.get(node) else { continue };
            let output = translator.elsewhere(node.clone());
            let unchanged = sender.borrow().as_ref().is_some_and(|published| {
                published.presence() == Presence::Unknown && **published.output() == output
            });
            if !unchanged {
                let published = Published::new(Arc::new(output), None, Presence::Unknown, sequence);
                sender.send_replace(Some(Arc::new(published)));
            }
        }
        forgotten
    }

    /// Forgets the nodes that nothing names once nobody listens: those that went away, and wrong names.
    pub(super) fn sweep(&mut self) -> Vec<NodeName> {
        let (senders, mut forgotten) = (&mut self.senders, Vec::new());
        self.unknown_nodes.retain(|node| {
            let is_heard = senders.get(node).is_some_and(|sender| sender.receiver_count() > 0);
            if !is_heard && senders.remove(node).is_some() {
                forgotten.push(node.clone());
            }
            is_heard
        });
        forgotten
    }

    /// Returns true if the node is of the cluster, or somebody has asked for it of late.
    pub(super) fn has(&self, node: &NodeName) -> bool {
        self.senders.contains_key(node)
    }

    /// Where to see what `node` should have; `translator` has made a pass, or nothing is known of any node.
    pub(super) fn subscribe(&mut self, node: NodeName, translator: Option<&Translator>) -> Desired {
        let (unknown_nodes, sequence) = (&mut self.unknown_nodes, self.sequence);
        let sender = self.senders.entry(node).or_insert_with_key(|node| {
            // Nothing names it, so it is forgotten once nobody listens, whatever names callers make up.
            unknown_nodes.insert(node.clone());
            let output = translator.map(|translator| Arc::new(translator.elsewhere(node.clone())));
            watch::channel(output.map(|o| Arc::new(Published::new(o, None, Presence::Unknown, sequence)))).0
        });
        sender.subscribe()
    }

    /// Where to see what each known node should have.
    pub(super) fn all(&self) -> BTreeMap<NodeName, Desired> {
        self.senders.iter().map(|(node, sender)| (node.clone(), sender.subscribe())).collect()
    }

    /// The newest pass.
    pub(super) const fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// What pods have ceased to have.
    pub(super) const fn released(&self) -> &Released {
        &self.released
    }

    pub(super) fn len(&self) -> usize {
        self.senders.len()
    }
}
