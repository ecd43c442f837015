//! The pass: what a burst of changes means for groups, sets and nodes.
//!
//! Its cost follows what changed: groups whose rules or pods differ, sets that gained or lost members, and the nodes
//! that refer to them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::NodeName;

use super::Translator;
use super::groups::{Group, Outcome, Wanted};
use super::links::needs_node_addresses;
use super::parts::Ground;
use crate::delta::Body;
use crate::idset::IdSet;
use crate::object::{Direction, Types};
use crate::output::Output;
use crate::parallel;

/// What a pass came to.
#[derive(Debug, Default)]
pub struct Pass {
    /// The nodes whose outputs differ from those of the pass before, by name.
    pub changes: Vec<NodeChange>,
    /// Nodes that nothing names any more, by name.
    pub gone: Vec<NodeName>,
    /// Addresses that a pod has ceased to claim since the pass before, in order, also if it claims them again.
    pub released: Vec<IpAddr>,
    /// Whether [`Translator::problems`] may differ.
    pub problems: bool,
    /// The addresses that pods have gained or given up since the pass before, in order; of the first pass, none.
    pub moved: Vec<IpAddr>,
    /// What was done.
    pub work: Work,
}

/// A node with a new output.
#[derive(Debug, Clone)]
pub struct NodeChange {
    /// The output of the pass before; `None`: the node is new.
    pub before: Option<Arc<Output>>,
    /// The output now.
    pub after: Arc<Output>,
    /// The transaction from the one to the other, if both differ in their tables and one leads there (see
    /// [`crate::diff`]). What is the same on many nodes they share.
    pub body: Option<Body>,
}

/// What a pass has done, in counts that do not depend on the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Pods whose policies were looked up.
    pub pods: usize,
    /// How often one of them was tried against what a policy selects.
    pub tries: usize,
    /// Groups whose rules were merged.
    pub groups: usize,
    /// Sets that gained or lost members.
    pub sets: usize,
    /// Nodes whose frame was put together.
    pub frames: usize,
    /// Nodes whose frame was edited, for policies isolate pods in another way.
    pub refits: usize,
    /// Nodes that only got new members.
    pub members: usize,
    /// Different changes of rule sets and sets of pods that were written.
    pub bodies: usize,
}

/// What a pod is to the policies of its namespace.
#[derive(Default)]
enum Found {
    /// It is not there, or has no address and is not waited for.
    #[default]
    Nothing,
    /// It owns an address: the groups that it belongs to.
    Owner([Option<Wanted>; 2]),
    /// It may start at any moment: where, and in which directions it is isolated then, if it is.
    OnItsWay(Option<(u32, Types)>),
}

/// Takes numbers out, each once, in order.
pub(super) fn distinct(ids: &mut Vec<u32>) -> Vec<u32> {
    let mut ids = std::mem::take(ids);
    ids.sort_unstable();
    ids.dedup();
    ids
}

impl Translator {
    /// Brings the outputs up to date with the world.
    pub fn pass(&mut self) -> Pass {
        let mut work = Work::default();
        let first = self.look_at_new_world();
        let mut affected = self.regroup(&mut work);
        let families = self.cluster.families();
        if families != self.families {
            self.families = families;
            self.dirty.nodes.extend(self.cluster.nodes().map(|(id, _)| id));
        }
        let guarded = self.guards.settle(&self.world, &self.cluster, &mut self.expected);
        self.dirty.nodes.extend(guarded);
        if self.node_addresses.settle() {
            let has_use = |output: &Arc<Output>| needs_node_addresses(output);
            let nodes = self.cluster.nodes().filter(|(_, node)| node.output.as_ref().is_some_and(has_use));
            self.dirty.nodes.extend(nodes.map(|(id, _)| id));
        }
        if std::mem::take(&mut self.dirty.contested) {
            self.groups.review_all();
        }
        let over_budget = self.any_over_budget();
        self.groups.sweep(&mut self.subjects, &mut self.parts);
        self.groups.review_tenants(&self.subjects, &self.budgets);
        let mut ground = Ground { cluster: &mut self.cluster, peers: &mut self.peers };
        work.groups = self.groups.refresh(
            &self.subjects,
            &mut self.parts,
            &mut ground,
            self.names,
            &self.budgets,
            &mut affected,
        );
        let (changed, counted) = self.parts.sets.settle();
        work.sets = changed.len();
        let (crossed, namespaces) = self.parts.review(&counted, ground.cluster);
        let reviewed = !crossed.is_empty() || !namespaces.is_empty();
        self.parts.sweep(&mut ground);
        let renamed = self.parts.rename();
        if reviewed || !renamed.is_empty() {
            let rules: BTreeSet<u32> = crossed.into_iter().chain(renamed).collect();
            let of = |outcome| matches!(outcome, Outcome::Rules(id) if rules.contains(&id));
            let is = |group: &Group| namespaces.contains(&group.namespace()) || of(group.outcome);
            let groups = self.groups.iter().filter(|(_, group)| is(group));
            let pods: Vec<u32> = groups.flat_map(|(_, group)| group.pods.iter()).collect();
            self.touch_nodes_of(&pods);
        }
        // Every node is put together anyway.
        let affected = if first { Vec::new() } else { distinct(&mut affected) };
        let (changes, gone) = self.follow_in_nodes(&affected, &changed, &mut work);
        let moved = work.pods + work.groups > 0 && (over_budget || self.any_over_budget());
        let problems = std::mem::take(&mut self.dirty.problems) || moved || reviewed;
        let released = self.cluster.owners.released();
        let mut moved = std::mem::take(&mut self.dirty.moved);
        moved.sort_unstable();
        moved.dedup();
        Pass { changes, gone, released, problems, moved, work }
    }

    pub(super) fn any_over_budget(&self) -> bool {
        self.groups.any_over_budget() || self.parts.any_over_budget()
    }

    /// Puts dirty pods into the groups that they belong to; those that moved.
    fn regroup(&mut self, work: &mut Work) -> Vec<u32> {
        self.review_namespaces();
        let pods = distinct(&mut self.dirty.pods);
        work.pods = pods.len();
        let (cluster, subjects, groups, world) = (&self.cluster, &self.subjects, &self.groups, &self.world);
        let is_expecting = self.guards.is_expecting();
        let found = parallel::map_asking(
            &pods,
            |ids| cluster.ask_for(ids),
            |id| {
                let entry = cluster.pod(*id)?;
                if cluster.owned(*id).next().is_none() {
                    let node = entry.node.filter(|_| is_expecting && world.awaits(&entry.pod))?;
                    let (applying, tries) = subjects.applying(entry);
                    let [ingress, egress] = applying.map(|applying| applying.is_some());
                    let types = Types::of(|direction| match direction {
                        Direction::Ingress => ingress,
                        Direction::Egress => egress,
                    });
                    return Some((Found::OnItsWay(types.map(|types| (node, types))), tries));
                }
                let wanted = |direction, applying| groups.wanted(entry, direction, applying, subjects);
                let ([ingress, egress], tries) = subjects.applying(entry);
                let groups = [
                    ingress.map(|applying| wanted(Direction::Ingress, applying)),
                    egress.map(|applying| wanted(Direction::Egress, applying)),
                ];
                Some((Found::Owner(groups), tries))
            },
        );
        let mut moved = Vec::new();
        for (id, found) in pods.into_iter().zip(found) {
            let (found, tries) = found.unwrap_or_default();
            work.tries += tries;
            let (wanted, expected) = match found {
                Found::Owner(groups) => (groups, None),
                Found::OnItsWay(expected) => ([None, None], expected),
                Found::Nothing => ([None, None], None),
            };
            self.expected.put(id, expected);
            for (direction, wanted) in Direction::ALL.into_iter().zip(wanted) {
                if self.groups.place(id, direction, wanted, &mut self.subjects, &mut self.cluster) {
                    moved.push(id);
                }
            }
        }
        moved
    }

    /// Looks which namespaces have more policies than their pods can be tried against. All pods of those for which it is
    /// news belong to other groups.
    fn review_namespaces(&mut self) {
        for namespace in distinct(&mut self.dirty.namespaces) {
            let pods = self.cluster.namespace(namespace).map(|entry| &entry.pods);
            if self.subjects.review(namespace, &self.cluster, &self.budgets) {
                self.dirty.pods.extend(pods.into_iter().flat_map(IdSet::iter));
            }
        }
    }

    /// The nodes of these pods, and of those that share an address with one of them.
    pub(super) fn touch_nodes_of(&mut self, pods: &[u32]) {
        for id in pods {
            self.dirty.nodes.extend(self.cluster.pod(*id).and_then(|entry| entry.node));
            for (address, alone) in self.cluster.owned(*id) {
                if !alone {
                    let owners = self.cluster.owners_of(&address);
                    self.dirty.nodes.extend(owners.iter().filter_map(|owner| self.cluster.pod(*owner)?.node));
                }
            }
        }
    }
}
