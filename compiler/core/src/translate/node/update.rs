//! The outputs of the nodes that a pass touches: assembled anew, patched, or given new members of sets; and the way from
//! the output before to the one after.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::collections::ids::{NamespaceId, NodeId, PodId, SetId};
use crate::collections::parallel;
use crate::delta::{DeltaBody, DeltaCache};
use crate::invariant::bug;
use crate::output::Output;
use crate::translate::budget::load::{Load, LoadKind};
use crate::translate::index::cluster::NodeEntry;
use crate::translate::indexes::Indexes;
use crate::translate::node::output::{NodeOutput, NodeSources};
use crate::translate::node::patch::{MANY, NodePatch, Patched};
use crate::translate::pass::{NodeChange, Work, distinct};
use crate::world::World;

/// What a node's output has become.
struct NodeUpdate {
    node: NodeId,
    /// The output now, and the statements that lead there, if a delta does; `None`: it is as it was.
    change: Option<(Arc<Output>, Option<DeltaBody>)>,
    /// The sets that it refers to, in the output's order; `None`: the same as before.
    sets: Option<Vec<SetId>>,
    /// The namespaces that are closed on it.
    closed: BTreeMap<NamespaceId, LoadKind>,
    /// At most so much its rule sets come to without the sets of pods.
    load: Load,
    /// How many statements were written anew.
    written: usize,
}

impl NodeUpdate {
    fn new(
        node: NodeId,
        entry: &NodeEntry,
        after: Output,
        sets: Option<Vec<SetId>>,
        deltas: &mut DeltaCache,
    ) -> Self {
        let known = deltas.written();
        let change = match &entry.output {
            Some(before) if before.revision() != after.revision() => {
                let body = deltas.body(before, &after);
                Some((Arc::new(after), body))
            }
            Some(before) if **before == after => None,
            // A new node, or what differs is in no table, such as whose an address is: no statements lead there.
            None | Some(_) => Some((Arc::new(after), None)),
        };
        let written = deltas.written() - known;
        Self { node, change, sets, closed: BTreeMap::new(), load: entry.load, written }
    }

    /// Assembled anew.
    fn anew(node: NodeId, entry: &NodeEntry, sources: &NodeSources<'_>, deltas: &mut DeltaCache) -> Self {
        let NodeOutput { output, sets, closed, load } = sources.output(node, entry);
        let output = match &entry.output {
            None => output,
            Some(before) => output.sharing_node_rules(before),
        };
        Self { closed, load, ..Self::new(node, entry, output, Some(sets), deltas) }
    }
}

/// Nodes with the pods on each that are isolated in another way, in order.
type Patches = Vec<(NodeId, SmallVec<[PodId; 4]>)>;

/// The nodes' part of a pass.
pub(in crate::translate) struct NodeUpdates<'a> {
    pub(in crate::translate) indexes: &'a mut Indexes,
    pub(in crate::translate) world: &'a World,
    /// Sets with other members than before, in order.
    pub(in crate::translate) changed: &'a [SetId],
    pub(in crate::translate) work: &'a mut Work,
}

impl NodeUpdates<'_> {
    /// Brings the outputs up to date after pods were `affected` by policies; nodes with other outputs than before, and the
    /// last outputs of nodes that are gone, by name.
    pub(in crate::translate) fn run(mut self, affected: &[PodId]) -> (Vec<NodeChange>, Vec<Arc<Output>>) {
        // Who cannot be patched becomes dirty, so this comes before the dirty ones are taken.
        let patches = self.patches_of(affected);
        let (dirty, gone) = self.forget_nodes();
        let mut changes = self.assemble(&dirty);
        changes.extend(self.patch(&patches));
        // Both have taken over new members with all else.
        let followed = [dirty, patches.into_iter().map(|(node, _)| node).collect()];
        changes.extend(self.follow_members(&followed));
        changes.sort_by(|a, b| a.after.node().cmp(b.after.node()));
        (changes, gone)
    }

    const fn sources(&self) -> NodeSources<'_> {
        NodeSources { indexes: self.indexes, world: self.world }
    }

    /// Which of these pods, by node, are all that a node's output has to take over. The nodes of the others are to be
    /// assembled anew.
    fn patches_of(&mut self, affected: &[PodId]) -> Patches {
        let mut places: Vec<(NodeId, PodId)> = Vec::with_capacity(affected.len());
        for id in affected {
            match self.indexes.cluster.pod(*id).and_then(|entry| entry.node) {
                Some(node)
                    if self.is_editable(node) && self.indexes.cluster.owned(*id).all(|(_, alone)| alone) =>
                {
                    places.push((node, *id));
                }
                // A contested address is isolated for all its owners, so their nodes may differ as well.
                _ => self.indexes.touch_nodes_of(&[*id]),
            }
        }
        places.sort_unstable();
        let by_node = || places.chunk_by(|(a, _), (b, _)| a == b);
        let fit = |pods: &[(NodeId, PodId)]| pods.len() <= MANY && self.changed.len() <= MANY;
        let unfit = by_node().filter(|pods| !fit(pods)).filter_map(|pods| pods.first());
        self.indexes.dirty.nodes.extend(unfit.map(|(node, _)| node));
        self.indexes.dirty.nodes.sort_unstable();
        // A node that is assembled anew takes these pods over as well.
        let patches = by_node().filter_map(|pods| {
            let (node, _) = pods.first()?;
            self.indexes
                .dirty
                .nodes
                .binary_search(node)
                .is_err()
                .then(|| (*node, pods.iter().map(|(_, pod)| *pod).collect()))
        });
        patches.collect()
    }

    /// Returns true if no namespace is closed on a node.
    fn is_editable(&self, node: NodeId) -> bool {
        self.indexes.cluster.node(node).is_some_and(|entry| entry.closed.is_empty())
    }

    /// Forgets dirty nodes that nothing names any more: the dirty ones that are left, in order, and the outputs of the
    /// others, by name.
    fn forget_nodes(&mut self) -> (Vec<NodeId>, Vec<Arc<Output>>) {
        let mut gone: Vec<Arc<Output>> = Vec::new();
        // Each once, for the second look at one would not find it.
        let mut dirty = distinct(&mut self.indexes.dirty.nodes);
        dirty.retain(|id| {
            let Some(node) = self.indexes.cluster.remove_node_if_gone(*id) else { return true };
            self.indexes.dirty.problems |=
                !node.closed.is_empty() || self.world.facts().contains_key(&node.name);
            self.indexes.rule_sets.sets.leave(*id, &node.sets);
            // One that came and went between two passes was never seen.
            gone.extend(node.output);
            false
        });
        gone.sort_unstable_by(|a, b| a.node().cmp(b.node()));
        (dirty, gone)
    }

    /// Assembles the outputs of nodes anew.
    fn assemble(&mut self, nodes: &[NodeId]) -> Vec<NodeChange> {
        self.work.assembled = nodes.len();
        let sources = self.sources();
        let updates = parallel::map_with(nodes, DeltaCache::default, |deltas, id| {
            let entry = sources.indexes.cluster.node(*id)?;
            Some(NodeUpdate::anew(*id, entry, &sources, deltas))
        });
        self.take_over(updates)
    }

    /// Edits the outputs of nodes on which policies isolate some pods in another way.
    fn patch(&mut self, patches: &[(NodeId, SmallVec<[PodId; 4]>)]) -> Vec<NodeChange> {
        self.work.patched = patches.len();
        let sources = self.sources();
        let prefetch = |patches: &[(NodeId, SmallVec<[PodId; 4]>)]| sources.prefetch_patches(patches);
        let updates =
            parallel::map_prefetching_with(patches, DeltaCache::default, prefetch, |deltas, (id, pods)| {
                let entry = sources.indexes.cluster.node(*id)?;
                let before = output_of(*id, entry)?;
                let patch = NodePatch { sources, node: entry, before, pods, changed: self.changed };
                let Patched { output, sets, load } = patch.apply();
                // The bound of a patched node only grows, so this may be no excess. Assembling tells, and begins to
                // count anew.
                if sources.excess(&output, load).is_some() {
                    return Some(NodeUpdate::anew(*id, entry, &sources, deltas));
                }
                Some(NodeUpdate { load, ..NodeUpdate::new(*id, entry, output, sets, deltas) })
            });
        self.take_over(updates)
    }

    /// Takes new members over into the outputs that refer to their sets; some have been `followed` already, for another
    /// reason.
    fn follow_members(&mut self, followed: &[Vec<NodeId>; 2]) -> Vec<NodeChange> {
        let mut by_node: BTreeMap<NodeId, Vec<SetId>> = BTreeMap::new();
        for set in self.changed {
            // Swept, if nobody looks it up any more.
            let nodes = self.indexes.rule_sets.sets.interner.get(*set).map(|part| &part.value.nodes);
            for node in nodes.into_iter().flat_map(|nodes| nodes.iter()) {
                by_node.entry(node).or_default().push(*set);
            }
        }
        let is_behind = |node: NodeId| followed.iter().all(|nodes| nodes.binary_search(&node).is_err());
        let behind: Vec<(NodeId, Vec<SetId>)> =
            by_node.into_iter().filter(|(node, _)| is_behind(*node)).collect();
        self.work.members = behind.len();
        let sources = self.sources();
        let updates = parallel::map_with(&behind, DeltaCache::default, |deltas, (id, changed)| {
            let entry = sources.indexes.cluster.node(*id)?;
            // Which namespaces are closed depends on how large sets are, so new members may change that.
            if !entry.closed.is_empty() {
                return Some(NodeUpdate::anew(*id, entry, &sources, deltas));
            }
            let output = output_of(*id, entry)?.with_sets(sources.newer(&entry.sets, changed));
            if sources.excess(&output, entry.load).is_some() {
                return Some(NodeUpdate::anew(*id, entry, &sources, deltas));
            }
            Some(NodeUpdate::new(*id, entry, output, None, deltas))
        });
        self.take_over(updates)
    }

    /// Takes over what the outputs of nodes have become; those that differ from before.
    fn take_over(&mut self, updates: Vec<Option<NodeUpdate>>) -> Vec<NodeChange> {
        let mut changes = Vec::with_capacity(updates.len());
        for NodeUpdate { node: id, change, sets, closed, load, written } in updates.into_iter().flatten() {
            self.work.deltas += written;
            let Some(node) = self.indexes.cluster.node_mut(id) else { continue };
            self.indexes.dirty.problems |= node.closed != closed;
            node.closed = closed;
            node.load = load;
            if let Some(sets) = sets.filter(|sets| *sets != node.sets) {
                // Each set keeps its nodes, and most sets stay: only the difference is told. They lie in order of
                // names, hence the sorting.
                let (old, new) = (in_order(&node.sets), in_order(&sets));
                self.indexes
                    .rule_sets
                    .sets
                    .leave(id, old.iter().filter(|set| new.binary_search(set).is_err()));
                self.indexes
                    .rule_sets
                    .sets
                    .join(id, new.iter().filter(|set| old.binary_search(set).is_err()));
                node.sets = sets;
            }
            if let Some((after, body)) = change {
                // What a node's facts say of its bridges matters for those that pods hang on.
                let bridges = &after.node_rules().links.pod_bridges;
                self.indexes.dirty.problems |= self.world.facts().contains_key(after.node())
                    && node.output.as_ref().is_none_or(|it| it.node_rules().links.pod_bridges != *bridges);
                let before = node.output.replace(Arc::clone(&after));
                changes.push(NodeChange { before, after, body });
            }
        }
        changes
    }
}

/// The output of a node that is to be edited, which has one: a new node is put together anew.
fn output_of(node: NodeId, entry: &NodeEntry) -> Option<&Arc<Output>> {
    if entry.output.is_none() {
        bug!("{node:?} is to be edited and has no output yet");
    }
    entry.output.as_ref()
}

fn in_order(sets: &[SetId]) -> Vec<SetId> {
    let mut sets = sets.to_vec();
    sets.sort_unstable();
    sets
}
