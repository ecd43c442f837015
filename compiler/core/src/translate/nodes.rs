//! The outputs of the nodes that a pass touches: put together anew, edited, or given new members; and the way from the
//! output before to the one after.

use std::collections::BTreeMap;
use std::sync::Arc;

use flock_shared::NodeName;

use super::Translator;
use super::cluster::NodeEntry;
use super::frames::{self, Few, Sources};
use super::load::{Kind, Load};
use super::pass::{NodeChange, Work, distinct};
use super::refit::MANY;
use crate::delta::{Bodies, Body};
use crate::output::Output;
use crate::parallel;

/// What a node's output has become.
struct Built {
    node: u32,
    /// The output now, and the statements that lead there, if a delta does; `None`: it is as it was.
    change: Option<(Arc<Output>, Option<Body>)>,
    /// The numbers of the sets that it refers to, in the output's order; `None`: the same as before.
    sets: Option<Vec<u32>>,
    /// The namespaces that are closed on it.
    closed: BTreeMap<u32, Kind>,
    /// At most so much its rule sets come to without the sets of pods.
    load: Load,
    /// How many statements were written anew.
    written: usize,
}

impl Built {
    fn new(node: u32, entry: &NodeEntry, after: Output, sets: Option<Vec<u32>>, bodies: &mut Bodies) -> Self {
        let known = bodies.written();
        let change = match &entry.output {
            Some(before) if before.revision() != after.revision() => {
                let body = bodies.body(before, &after);
                Some((Arc::new(after), body))
            }
            Some(before) if **before == after => None,
            None | Some(_) => Some((Arc::new(after), None)),
        };
        let written = bodies.written() - known;
        Self { node, change, sets, closed: BTreeMap::new(), load: entry.load, written }
    }

    /// Put together anew.
    fn anew(node: u32, entry: &NodeEntry, sources: &Sources<'_>, bodies: &mut Bodies) -> Self {
        let frames::Built { output, sets, closed, load } = sources.output(node, entry);
        let output = match &entry.output {
            None => output,
            Some(before) => output.sharing_frame(before),
        };
        Self { closed, load, ..Self::new(node, entry, output, Some(sets), bodies) }
    }
}

/// Nodes with the pods on each that are isolated in another way, in order.
type Fits = Vec<(u32, Few<u32>)>;

impl Translator {
    /// Brings the outputs up to date after pods were `affected` by policies and sets have `changed`; nodes with other
    /// outputs than before, and nodes that are gone, by name.
    pub(super) fn follow_in_nodes(
        &mut self,
        affected: &[u32],
        changed: &[u32],
        work: &mut Work,
    ) -> (Vec<NodeChange>, Vec<NodeName>) {
        let fits = self.fits_of(affected, changed);
        let gone = self.forget_nodes();
        let dirty = distinct(&mut self.dirty.nodes);
        let mut changes = self.rebuild(&dirty, work);
        changes.extend(self.refit(&fits, changed, work));
        let followed = [dirty, fits.into_iter().map(|(node, _)| node).collect()];
        changes.extend(self.follow_members(changed, &followed, work));
        changes.sort_by(|a, b| a.after.node().cmp(b.after.node()));
        (changes, gone)
    }

    fn sources(&self) -> Sources<'_> {
        let Self { world, cluster, groups, parts, guards, node_addresses, families, budgets, .. } = self;
        let (families, most) = (*families, budgets.node);
        Sources { cluster, groups, parts, guards, world, node_addresses, families, most }
    }

    /// Which of these pods, by node, are all that a node's output has to take over. The nodes of the others are to be
    /// put together anew.
    fn fits_of(&mut self, affected: &[u32], changed: &[u32]) -> Fits {
        let mut places: Vec<(u32, u32)> = Vec::with_capacity(affected.len());
        for id in affected {
            match self.cluster.pod(*id).and_then(|entry| entry.node) {
                Some(node) if self.is_editable(node) && self.cluster.owned(*id).all(|(_, alone)| alone) => {
                    places.push((node, *id));
                }
                _ => self.touch_nodes_of(&[*id]),
            }
        }
        places.sort_unstable();
        let by_node = || places.chunk_by(|(a, _), (b, _)| a == b);
        let fit = |pods: &[(u32, u32)]| pods.len() <= MANY && changed.len() <= MANY;
        let unfit = by_node().filter(|pods| !fit(pods)).filter_map(|pods| pods.first());
        self.dirty.nodes.extend(unfit.map(|(node, _)| node));
        self.dirty.nodes.sort_unstable();
        let fits = by_node().filter_map(|pods| {
            let (node, _) = pods.first()?;
            self.dirty
                .nodes
                .binary_search(node)
                .is_err()
                .then(|| (*node, pods.iter().map(|(_, pod)| *pod).collect()))
        });
        fits.collect()
    }

    /// Whether no namespace is closed on a node.
    fn is_editable(&self, node: u32) -> bool {
        self.cluster.node(node).is_some_and(|entry| entry.closed.is_empty())
    }

    /// Forgets dirty nodes that nothing names any more.
    fn forget_nodes(&mut self) -> Vec<NodeName> {
        let mut gone = Vec::new();
        let (cluster, parts, closed) = (&mut self.cluster, &mut self.parts, &mut self.dirty.problems);
        let facts = self.world.facts();
        self.dirty.nodes.retain(|id| match cluster.remove_node_if_gone(*id) {
            Some(node) => {
                *closed |= !node.closed.is_empty() || facts.contains_key(&node.name);
                parts.sets.leave(*id, &node.sets);
                // One that came and went between two passes was never seen.
                gone.extend(node.output.is_some().then_some(node.name));
                false
            }
            None => true,
        });
        gone.sort_unstable();
        gone
    }

    /// Puts the outputs of nodes together anew.
    fn rebuild(&mut self, nodes: &[u32], work: &mut Work) -> Vec<NodeChange> {
        work.frames = nodes.len();
        let sources = self.sources();
        let built = parallel::map_with(nodes, Bodies::default, |bodies, id| {
            let entry = sources.cluster.node(*id)?;
            Some(Built::anew(*id, entry, &sources, bodies))
        });
        self.take_over(built, work)
    }

    /// Edits the outputs of nodes on which policies isolate some pods in another way.
    fn refit(&mut self, fits: &[(u32, Few<u32>)], changed: &[u32], work: &mut Work) -> Vec<NodeChange> {
        work.refits = fits.len();
        let sources = self.sources();
        let ask = |fits: &[(u32, Few<u32>)]| sources.ask_for_fits(fits);
        let built = parallel::map_asking_with(fits, Bodies::default, ask, |bodies, (id, pods)| {
            let entry = sources.cluster.node(*id)?;
            let before = entry.output.as_ref()?;
            let (output, sets, load) = sources.refitted(entry, before, pods, changed);
            if sources.excess(&output, load).is_some() {
                return Some(Built::anew(*id, entry, &sources, bodies));
            }
            Some(Built { load, ..Built::new(*id, entry, output, sets, bodies) })
        });
        self.take_over(built, work)
    }

    /// Takes new members over into the outputs that refer to their sets; some have been `followed` already, for another
    /// reason.
    fn follow_members(
        &mut self,
        changed: &[u32],
        followed: &[Vec<u32>; 2],
        work: &mut Work,
    ) -> Vec<NodeChange> {
        let mut by_node: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for set in changed {
            let nodes = self.parts.sets.registry.get(*set).map(|part| &part.value.nodes);
            for node in nodes.into_iter().flat_map(|nodes| nodes.iter()) {
                by_node.entry(node).or_default().push(*set);
            }
        }
        let is_behind = |node: u32| followed.iter().all(|nodes| nodes.binary_search(&node).is_err());
        let behind: Vec<(u32, Vec<u32>)> = by_node.into_iter().filter(|(node, _)| is_behind(*node)).collect();
        work.members = behind.len();
        let sources = self.sources();
        let built = parallel::map_with(&behind, Bodies::default, |bodies, (id, changed)| {
            let entry = sources.cluster.node(*id)?;
            if !entry.closed.is_empty() {
                return Some(Built::anew(*id, entry, &sources, bodies));
            }
            let output = entry.output.as_ref()?.with_sets(sources.newer(&entry.sets, changed));
            if sources.excess(&output, entry.load).is_some() {
                return Some(Built::anew(*id, entry, &sources, bodies));
            }
            Some(Built::new(*id, entry, output, None, bodies))
        });
        self.take_over(built, work)
    }

    /// Takes over what the outputs of nodes have become; those that differ from before.
    fn take_over(&mut self, built: Vec<Option<Built>>, work: &mut Work) -> Vec<NodeChange> {
        let mut changes = Vec::with_capacity(built.len());
        for Built { node: id, change, sets, closed, load, written } in built.into_iter().flatten() {
            work.bodies += written;
            let Some(node) = self.cluster.node_mut(id) else { continue };
            self.dirty.problems |= node.closed != closed;
            node.closed = closed;
            node.load = load;
            if let Some(sets) = sets.filter(|sets| *sets != node.sets) {
                let (old, new) = (in_order(&node.sets), in_order(&sets));
                self.parts.sets.leave(id, old.iter().filter(|set| new.binary_search(set).is_err()));
                self.parts.sets.join(id, new.iter().filter(|set| old.binary_search(set).is_err()));
                node.sets = sets;
            }
            if let Some((after, body)) = change {
                // What a node's facts say of its bridges matters for those that pods hang on.
                let bridges = &after.frame().links.pod_bridges;
                self.dirty.problems |= self.world.facts().contains_key(after.node())
                    && node.output.as_ref().is_none_or(|it| it.frame().links.pod_bridges != *bridges);
                let before = node.output.replace(Arc::clone(&after));
                changes.push(NodeChange { before, after, body });
            }
        }
        changes
    }
}

fn in_order(sets: &[u32]) -> Vec<u32> {
    let mut sets = sets.to_vec();
    sets.sort_unstable();
    sets
}
