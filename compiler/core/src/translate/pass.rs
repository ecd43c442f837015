//! The pass: what a burst of changes means for groups, sets and nodes, step by step ([`run`]).
//!
//! Its cost follows what changed: groups whose rules or pods differ, sets that gained or lost members, and the nodes
//! that refer to them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::NodeName;

use super::indexes::Indexes;
use crate::collections::ids::{NamespaceId, NodeId, PodId, RuleSetId, SetId};
use crate::collections::idset::IdSet;
use crate::collections::parallel;
use crate::delta::DeltaBody;
use crate::invariant::Broken;
use crate::object::{Direction, Types};
use crate::output::Output;
use crate::translate::node::links::needs_node_addresses;
use crate::translate::node::update::NodeUpdates;
use crate::translate::rules::applied_to::{AppliedToGroup, Outcome, WantedGroup};
use crate::translate::rules::rule_sets::IndexesMut;
use crate::world::World;

/// What a pass came to.
#[derive(Debug, Default)]
pub struct Pass {
    /// The nodes whose outputs differ from those of the pass before, by name.
    pub changes: Vec<NodeChange>,
    /// Nodes that nothing names any more, by name.
    pub gone: Vec<NodeName>,
    /// Addresses that a pod has ceased to claim since the pass before, in order, also if it claims them again.
    pub released: Vec<IpAddr>,
    /// Whether [`super::Translator::problems`] may differ.
    pub problems: bool,
    /// The addresses that pods have gained or given up since the pass before, in order; of the first pass, none.
    pub moved: Vec<IpAddr>,
    /// What was done.
    pub work: Work,
    /// What was wrong with the translation itself, if anything was. Unless it is mended, nothing else is said: what was
    /// true after the pass before stays so.
    pub broken: Option<Broken>,
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
    pub body: Option<DeltaBody>,
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
    /// Nodes whose rules were put together.
    pub assembled: usize,
    /// Nodes whose rules were edited, for policies isolate pods in another way.
    pub patched: usize,
    /// Nodes that only got new members.
    pub members: usize,
    /// Different changes of rule sets and sets of pods that were written.
    pub deltas: usize,
}

/// What a pod is to the policies of its namespace.
#[derive(Default)]
enum Found {
    /// It is not there, or has no address and is not waited for.
    #[default]
    Nothing,
    /// It owns an address: the groups that it belongs to.
    Owner([Option<WantedGroup>; 2]),
    /// It may start at any moment: where, and in which directions it is isolated then, if it is.
    OnItsWay(Option<(NodeId, Types)>),
}

/// Takes ids out, each once, in order.
pub(super) fn distinct<I: Ord>(ids: &mut Vec<I>) -> Vec<I> {
    let mut ids = std::mem::take(ids);
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// A pass under way: its steps, and what they have come to so far.
struct Steps<'a> {
    indexes: &'a mut Indexes,
    world: &'a World,
    work: Work,
    /// Pods that policies may isolate in another way than before; some may come twice.
    affected: Vec<PodId>,
    /// Sets with other members than before, in order.
    changed: Vec<SetId>,
    /// Whether something has gone over a budget, or came back.
    crossed: bool,
}

/// Brings the outputs up to date with the world, on the condition that no invariant breaks: what that comes to, and the
/// last outputs of the nodes that are gone. Of a `first` pass every node is assembled.
pub(super) fn run(indexes: &mut Indexes, world: &World, is_first: bool) -> (Pass, Vec<Arc<Output>>) {
    let was_over_budget = indexes.any_over_budget();
    let work = Work::default();
    let mut steps = Steps { indexes, world, work, affected: Vec::new(), changed: Vec::new(), crossed: false };
    // First of all: it says which groups there are, and who is on the way, which closes nodes.
    steps.regroup_pods();
    // What touches nodes by itself, in any order.
    steps.compare_families();
    steps.settle_guards();
    steps.settle_node_addresses();
    // Groups say what they hold of rule sets, these of sets: from here on each step needs the one before.
    steps.merge_rules();
    // Once all sets are there and filled, and before any is swept: what pods did to them since is settled now.
    let counted = steps.settle_sets();
    // What sets have grown to may close rule sets and namespaces, so their sizes come first.
    let mut crossing = steps.review_lookups(&counted);
    // What is new has been held by now: what was let go and taken up again has stayed.
    steps.forget_unheld();
    // A name is shared by what is there, not by what was.
    crossing.rule_sets.extend(steps.review_names());
    steps.touch_crossed(&crossing);
    // Last: nodes take over what everything above has come to.
    let affected = if is_first { Vec::new() } else { distinct(&mut steps.affected) };
    steps.finish(&affected, was_over_budget)
}

/// Who has gone over a budget, or came back.
#[derive(Default)]
struct Crossing {
    rule_sets: BTreeSet<RuleSetId>,
    namespaces: BTreeSet<NamespaceId>,
}

impl Steps<'_> {
    /// Families come with the first address of theirs and go with the last, and are part of every node's rules.
    fn compare_families(&mut self) {
        let families = self.indexes.cluster.families();
        if families != self.indexes.families {
            self.indexes.families = families;
            // No table has sets of a family that no pod has, so each node's table changes its form.
            self.indexes.dirty.nodes.extend(self.indexes.cluster.nodes().map(|(id, _)| id));
        }
    }

    /// Which blocks nodes guard, when, and who is known there.
    fn settle_guards(&mut self) {
        let Indexes { guards, cluster, expected, dirty, .. } = &mut *self.indexes;
        dirty.nodes.extend(guards.settle(self.world, cluster, expected));
    }

    /// The addresses of all nodes matter where a node's rules name them.
    fn settle_node_addresses(&mut self) {
        if !self.indexes.node_addresses.settle() {
            return;
        }
        let has_use = |output: &Arc<Output>| needs_node_addresses(output);
        let nodes =
            self.indexes.cluster.nodes().filter(|(_, node)| node.output.as_ref().is_some_and(has_use));
        self.indexes.dirty.nodes.extend(nodes.map(|(id, _)| id));
    }

    /// Merges the rules of groups whose rules, or whose ports, are others than before.
    fn merge_rules(&mut self) {
        let Indexes { cluster, policies, groups, rule_sets, peers, budgets, dirty, .. } = &mut *self.indexes;
        // Merged rules name the contested addresses among their peers.
        if std::mem::take(&mut dirty.contested) {
            groups.review_all();
        }
        // Groups without pods first: they count for no namespace, and nobody is to merge their rules.
        groups.sweep(policies, rule_sets);
        groups.review_budgets(policies, budgets);
        let mut indexes = IndexesMut { cluster, peers };
        self.work.groups = groups.refresh(policies, rule_sets, &mut indexes, budgets, &mut self.affected);
    }

    /// Makes what pods did to sets into new members; the sets whose sizes may have changed.
    fn settle_sets(&mut self) -> BTreeSet<SetId> {
        let (changed, counted) = self.indexes.rule_sets.sets.settle();
        self.work.sets = changed.len();
        self.changed = changed;
        counted
    }

    /// Closes what looks up too many addresses, and opens what does so no longer.
    fn review_lookups(&mut self, counted: &BTreeSet<SetId>) -> Crossing {
        let (rule_sets, namespaces) = self.indexes.rule_sets.review(counted, &self.indexes.cluster);
        Crossing { rule_sets: rule_sets.into_iter().collect(), namespaces }
    }

    /// Forgets rule sets, unions and sets that nobody holds any more.
    fn forget_unheld(&mut self) {
        let Indexes { cluster, peers, rule_sets, .. } = &mut *self.indexes;
        rule_sets.sweep(&mut IndexesMut { cluster, peers });
    }

    /// Closes what shares a name with something else, and opens what does so no longer.
    fn review_names(&mut self) -> Vec<RuleSetId> {
        self.indexes.rule_sets.review_names(&self.indexes.cluster)
    }

    /// Has the nodes looked at on which pods are closed, or open, for what their policies come to.
    fn touch_crossed(&mut self, crossing: &Crossing) {
        let Crossing { rule_sets, namespaces } = crossing;
        self.crossed = !rule_sets.is_empty() || !namespaces.is_empty();
        if self.crossed {
            let of = |outcome| matches!(outcome, Outcome::Rules(id) if rule_sets.contains(&id));
            let is = |group: &AppliedToGroup| namespaces.contains(&group.namespace()) || of(group.outcome);
            let groups = self.indexes.groups.iter().filter(|(_, group)| is(group));
            // Their groups have the same rule sets as before, so no step has marked the nodes of their pods.
            let pods: Vec<PodId> = groups.flat_map(|(_, group)| group.pods.iter()).collect();
            self.indexes.touch_nodes_of(&pods);
        }
    }

    /// Updates the nodes, and says what the pass came to.
    fn finish(mut self, affected: &[PodId], was_over_budget: bool) -> (Pass, Vec<Arc<Output>>) {
        let (changed, work) = (&self.changed, &mut self.work);
        let nodes = NodeUpdates { indexes: &mut *self.indexes, world: self.world, changed, work };
        let (changes, gone) = nodes.run(affected);
        let work = self.work;
        let is_over_budget = was_over_budget || self.indexes.any_over_budget();
        let dirty = &mut self.indexes.dirty;
        // Problems of budgets give figures, which may differ after every pass that has looked at pods or groups.
        let problems = std::mem::take(&mut dirty.problems)
            || self.crossed
            || is_over_budget && work.pods + work.groups > 0;
        let moved = distinct(&mut dirty.moved);
        let released = self.indexes.cluster.owners.released();
        (Pass { changes, gone: Vec::new(), released, problems, moved, work, broken: None }, gone)
    }

    /// Puts dirty pods into the groups that they belong to. Those that moved are affected.
    fn regroup_pods(&mut self) {
        // Over budget, nobody looks which policies select the pods of a namespace.
        self.review_namespaces();
        let pods = distinct(&mut self.indexes.dirty.pods);
        self.work.pods = pods.len();
        let Indexes { cluster, policies, groups, guards, .. } = &*self.indexes;
        let (world, is_expecting) = (self.world, guards.is_expecting());
        let found = parallel::map_prefetching(
            &pods,
            |ids| cluster.prefetch(ids),
            |id| {
                // It may be gone.
                let entry = cluster.pods.get(*id)?;
                if cluster.owned(*id).next().is_none() {
                    // Who is on the way matters only where blocks are closed for somebody's sake.
                    let node = entry.node.filter(|_| is_expecting && world.awaits(&entry.pod))?;
                    let (matched, tries) = policies.matched(entry);
                    let [ingress, egress] = matched.map(|matched| matched.is_some());
                    let types = Types::of(|direction| match direction {
                        Direction::Ingress => ingress,
                        Direction::Egress => egress,
                    });
                    return Some((Found::OnItsWay(types.map(|types| (node, types))), tries));
                }
                let wanted = |direction, matched| groups.wanted(entry, direction, matched, policies);
                let ([ingress, egress], tries) = policies.matched(entry);
                let groups = [
                    ingress.map(|matched| wanted(Direction::Ingress, matched)),
                    egress.map(|matched| wanted(Direction::Egress, matched)),
                ];
                Some((Found::Owner(groups), tries))
            },
        );
        let Indexes { cluster, policies, groups, expected: awaited, .. } = &mut *self.indexes;
        for (id, found) in pods.into_iter().zip(found) {
            // A pod that is gone belongs to no group and is expected nowhere. It may have been expected, so that is
            // said, too.
            let (found, tries) = found.unwrap_or_default();
            self.work.tries += tries;
            let (wanted, expected) = match found {
                Found::Owner(groups) => (groups, None),
                Found::OnItsWay(expected) => ([None, None], expected),
                Found::Nothing => ([None, None], None),
            };
            awaited.put(id, expected);
            for (direction, wanted) in Direction::ALL.into_iter().zip(wanted) {
                if groups.place(id, direction, wanted, policies, cluster) {
                    self.affected.push(id);
                }
            }
        }
    }

    /// Looks which namespaces have more policies than their pods can be tried against. All pods of those for which it is
    /// news belong to other groups.
    fn review_namespaces(&mut self) {
        let indexes = &mut *self.indexes;
        for namespace in distinct(&mut indexes.dirty.namespaces) {
            // It may be gone.
            let pods = indexes.cluster.namespaces.get(namespace).map(|entry| &entry.pods);
            if indexes.policies.review(namespace, &indexes.cluster, &indexes.budgets) {
                indexes.dirty.pods.extend(pods.into_iter().flat_map(IdSet::iter));
            }
        }
    }
}
