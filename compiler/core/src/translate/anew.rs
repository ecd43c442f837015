//! Starting again from nothing: what a translator does when it finds that one of its invariants is broken.
//!
//! Its indexes are then worth nothing, and its world is: that is kept apart from them and follows the source alone. So it
//! is indexed anew, in the same pass, and its nodes go on from the outputs that are published. If that breaks as well,
//! nothing is published, and the next pass tries again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::NodeName;

use super::Pass;
use super::index::cluster::Cluster;
use super::indexes::Indexes;
use super::pass::distinct;
use crate::object::Pod;
use crate::output::Output;
use crate::world::Differences;

/// What outlives the indexes.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What is published, until nodes have taken it over.
    pub(super) outputs: BTreeMap<NodeName, Arc<Output>>,
    /// Whether a pass has been published already.
    is_published: bool,
    /// What the next pass that succeeds has to say beside its own.
    released: Vec<IpAddr>,
    moved: Vec<IpAddr>,
}

impl Kept {
    /// Follows a world that is indexed by nobody: addresses that pods gain and lose once something is published.
    pub(super) fn follow(&mut self, differences: &Differences) {
        let pods = match differences {
            Differences::Pods(pods) | Differences::Nodes(_, pods) | Differences::NodePods(_, pods) => pods,
            Differences::Namespaces(_)
            | Differences::Policies(_)
            | Differences::Facts(_)
            | Differences::Overdue(_) => return,
        };
        let of = |pod: &Option<Arc<Pod>>| pod.as_ref().and_then(|pod| pod.addresses().cloned());
        for pod in pods.iter().filter(|_| self.is_published) {
            let (before, after) = (of(&pod.before).unwrap_or_default(), of(&pod.after).unwrap_or_default());
            if before != after {
                self.released.extend(&before);
                self.moved.extend(before.iter().filter(|address| !after.contains(address)));
                self.moved.extend(after.iter().filter(|address| !before.contains(address)));
            }
        }
    }
}

impl Kept {
    /// A pass that is to be published, with what was still to be said.
    pub(super) fn complete(&mut self, mut pass: Pass) -> Pass {
        let Self { is_published, released, moved, .. } = self;
        *is_published = true;
        if !released.is_empty() || !moved.is_empty() {
            pass.released.append(released);
            pass.moved.append(moved);
            pass.released = distinct(&mut pass.released);
            pass.moved = distinct(&mut pass.moved);
        }
        pass
    }

    /// Keeps what is published when the indexes are dropped: what nodes had before an attempt that came to this pass, with
    /// the last outputs of those that are `gone`, and before whatever has changed since.
    pub(super) fn keep(&mut self, indexes: &mut Indexes, mut pass: Pass, gone: Vec<Arc<Output>>) {
        self.outputs.extend(indexes.cluster.nodes().filter_map(|(_, node)| {
            node.output.as_ref().map(|output| (node.name.clone(), Arc::clone(output)))
        }));
        // Nodes have taken the attempt's outputs over already, so what it changed is put back.
        for change in pass.changes {
            match change.before {
                Some(before) => self.outputs.insert(before.node().clone(), before),
                None => self.outputs.remove(change.after.node()),
            };
        }
        // The attempt has taken these nodes out of the indexes. The next one finds what is kept of them, without a
        // node, and says that they are gone.
        self.outputs.extend(gone.into_iter().map(|output| (output.node().clone(), output)));
        self.released.append(&mut pass.released);
        // Indexes that are dropped must not take along what they have not said yet.
        self.released.append(&mut indexes.cluster.owners.released());
        self.moved.append(&mut pass.moved);
        self.moved.append(&mut indexes.dirty.moved);
    }

    /// Gives the nodes of a world that has been indexed from nothing what is published of them, so that each goes on from
    /// there; the outputs of nodes that nothing names any more.
    pub(super) fn restore(&mut self, cluster: &mut Cluster) -> Vec<Arc<Output>> {
        let mut unnamed = Vec::new();
        for (name, output) in std::mem::take(&mut self.outputs) {
            match cluster.node_id(&name).and_then(|id| cluster.node_mut(id)) {
                Some(node) => node.output = Some(output),
                None => unnamed.push(output),
            }
        }
        unnamed
    }
}

#[cfg(test)]
#[path = "anew_tests.rs"]
mod tests;
