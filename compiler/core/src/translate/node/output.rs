//! A node's output, assembled from the groups that its pods are in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::NodeName;
use smallvec::SmallVec;

use crate::collections::ids::{NamespaceId, NodeId, PodId, RuleSetId, SetId};
use crate::invariant::bug;
use crate::nft::costs::OWNERS_PER_ADDRESS;
use crate::object::{Direction, HostInterface, Pod, PodNetwork};
use crate::output::{AddressSet, Drops, IsolatedPod, Isolation, NodeRules, Output, Owners, RuleSet};
use crate::translate::budget::load::{Load, LoadKind};
use crate::translate::index::cluster::{NodeEntry, PodEntry};
use crate::translate::indexes::Indexes;
use crate::translate::node::links::links_of;
use crate::translate::options::KeepDrops;
use crate::translate::rules::applied_to::{AppliedToGroup, Outcome};
use crate::world::World;

/// What the rules of nodes are made from.
#[derive(Clone, Copy)]
pub(in crate::translate) struct NodeSources<'a> {
    pub(in crate::translate) indexes: &'a Indexes,
    pub(in crate::translate) world: &'a World,
}

/// The output of a node, put together.
pub(in crate::translate) struct NodeOutput {
    pub(in crate::translate) output: Output,
    /// The sets that it refers to, in the output's order; all that it would refer to were no namespace closed.
    pub(in crate::translate) sets: Vec<SetId>,
    /// The namespaces that are closed on the node, for the table would be too large, and what there would be too much of.
    pub(in crate::translate) closed: BTreeMap<NamespaceId, LoadKind>,
    /// At most so much its rule sets come to without the sets of pods that they look up.
    pub(in crate::translate) load: Load,
}

impl NodeSources<'_> {
    /// The output of a node. While its table is too large, the namespace is closed that uses most of what there is too
    /// much of.
    pub(in crate::translate) fn output(&self, id: NodeId, node: &NodeEntry) -> NodeOutput {
        self.prefetch(node);
        let (output, sets, used) = self.output_without(id, node, &BTreeMap::new());
        // Most nodes are far from their budget: an upper bound that is cheap to tell settles it.
        let load = self.indexes.rule_sets.load_at_most(&used);
        let mut closed = BTreeMap::new();
        if self.excess(&output, load).is_none() {
            return NodeOutput { output, sets, closed, load };
        }
        // The bound counts what rule sets share once for each of them, so the exact sum decides.
        let families = self.families_count();
        if self
            .indexes
            .rule_sets
            .load(&used.iter().copied().collect(), families)
            .excess(&self.indexes.budgets.node)
            .is_some()
        {
            closed = self.namespaces_to_close(node);
        }
        if closed.is_empty() {
            return NodeOutput { output, sets, closed, load };
        }
        let (output, _, used) = self.output_without(id, node, &closed);
        NodeOutput { output, sets, closed, load: self.indexes.rule_sets.load_at_most(&used) }
    }

    const fn families_count(&self) -> u64 {
        self.indexes.families.v4 as u64 + self.indexes.families.v6 as u64
    }

    /// What there may be too much of on a node with this output, whose rule sets come to no more than `load`.
    pub(in crate::translate) fn excess(&self, output: &Output, load: Load) -> Option<LoadKind> {
        let families = self.families_count();
        let sets: Load = output.sets().iter().map(|set| Load::of_set(set, families)).sum();
        (load + sets).excess(&self.indexes.budgets.node)
    }

    /// The namespaces that are to be closed on a node. The owners of its addresses count, wherever they are.
    fn namespaces_to_close(&self, node: &NodeEntry) -> BTreeMap<NamespaceId, LoadKind> {
        let mut rule_sets: BTreeMap<NamespaceId, BTreeSet<RuleSetId>> = BTreeMap::new();
        let addresses = node.pods.iter().flat_map(|id| self.indexes.cluster.owned(id));
        let others =
            addresses.filter(|(_, alone)| !alone).flat_map(|(at, _)| self.indexes.cluster.owners_of(&at));
        let owners: BTreeSet<PodId> = node.pods.iter().chain(others).collect();
        for entry in owners.into_iter().filter_map(|id| self.indexes.cluster.pod(id)) {
            for group in Direction::ALL.into_iter().filter_map(|direction| entry.group(direction)) {
                if let Some(Outcome::Rules(id)) = self.indexes.groups.get(group).map(|group| group.outcome)
                    // What is over a budget of its own is closed already, and comes to nothing on this node.
                    && self.indexes.rule_sets.interner.there(id).is_some_and(|part| part.value.over.is_none())
                    && !self.indexes.rule_sets.is_namespace_over(entry.namespace)
                {
                    rule_sets.entry(entry.namespace).or_default().insert(id);
                }
            }
        }
        let families = self.families_count();
        let name = |id: NamespaceId| self.indexes.cluster.namespace(id).map(|entry| &entry.name);
        let loads: BTreeMap<NamespaceId, Load> =
            rule_sets.iter().map(|(id, rules)| (*id, self.indexes.rule_sets.load(rules, families))).collect();
        let mut closed = BTreeMap::new();
        loop {
            // What namespaces share is counted once, so closing one may take away less than its load: the rest is
            // summed up anew.
            let left: BTreeSet<RuleSetId> = rule_sets.values().flatten().copied().collect();
            let Some(kind) = self.indexes.rule_sets.load(&left, families).excess(&self.indexes.budgets.node)
            else {
                return closed;
            };
            let of = |id: &NamespaceId| loads.get(id).map(|load| kind.of(load));
            // Of equal ones the first by name, for numbers depend on what came first.
            let most = rule_sets
                .keys()
                .copied()
                .max_by(|a, b| of(a).cmp(&of(b)).then_with(|| name(*b).cmp(&name(*a))));
            let Some(most) = most else {
                bug!("nothing comes to too many {kind:?}");
                return closed;
            };
            rule_sets.remove(&most);
            closed.insert(most, kind);
        }
    }

    /// The output of a node on which these namespaces are closed, the sets that it refers to, in the output's order, and
    /// its rule sets.
    fn output_without(
        &self,
        id: NodeId,
        node: &NodeEntry,
        closed: &BTreeMap<NamespaceId, LoadKind>,
    ) -> (Output, Vec<SetId>, SmallVec<[RuleSetId; 4]>) {
        let guard = self.indexes.guards.of(id);
        let (mut isolated, mut rule_sets, mut owners) = (SmallVec::new(), SmallVec::new(), Vec::new());
        let mut source_checks: BTreeMap<HostInterface, BTreeSet<IpAddr>> = BTreeMap::new();
        for id in node.pods.iter() {
            let Some(entry) = self.indexes.cluster.pod(id) else { continue };
            let known = isolated.len();
            self.isolated(id, closed, &mut isolated, &mut rule_sets);
            let own = isolated.iter().skip(known).map(|(address, _)| (*address, self.owners_of(id, address)));
            owners.extend(own);
            // Interfaces of pods that have reported addresses: also one that has yielded all of them, so that
            // nothing that comes from there is its own. Before the first report a source cannot be judged.
            if let Some(interface) = interface_of(&entry.pod) {
                let behind = source_checks.entry(interface.clone()).or_default();
                behind.extend(self.indexes.cluster.owned(id).map(|(address, _)| address));
            }
        }
        let links = links_of(
            node,
            !source_checks.is_empty(),
            self.world,
            &self.indexes.cluster,
            &self.indexes.node_addresses,
        );
        let node_rules = NodeRules {
            families: self.indexes.families,
            owners: Arc::new(owners.into_iter().collect()),
            isolated: isolated.into_iter().collect(),
            source_checks: Arc::new(source_checks),
            guard,
            links,
            drops: self.drops(&node.name),
        };
        rule_sets.sort_unstable();
        rule_sets.dedup();
        let parts = rule_sets.iter().filter_map(|id| self.indexes.rule_sets.interner.there(*id));
        let mut sets: Vec<SetId> = parts.flat_map(|part| part.value.sets.iter().copied()).collect();
        sets.sort_unstable();
        sets.dedup();
        let mut members: Vec<(SetId, Arc<AddressSet>)> =
            sets.into_iter().filter_map(|id| Some((id, self.members(id)?))).collect();
        // By name, for ids depend on what came first and bytes must not.
        members.sort_unstable_by_key(|(_, a)| a.definition.name);
        let (sets, members) = members.into_iter().unzip();
        (Output::new(node.name.clone(), Arc::new(node_rules), members), sets, rule_sets)
    }

    /// Whether a node takes down what it drops. One whose agent has not come yet is sent nothing: it counts as one of this
    /// version, for which nothing changes once it has come.
    fn drops(&self, node: &NodeName) -> Drops {
        let can = self.world.facts().get(node).is_none_or(|facts| facts.keeps_drops());
        if can && self.indexes.drops == KeepDrops::On { Drops::Kept } else { Drops::Counted }
    }

    /// The members of a set that some rule set within budget looks up. A set that is left out would be one that chains
    /// look up and nobody declares, or worse, one that lets nobody in.
    pub(in crate::translate) fn members(&self, set: SetId) -> Option<Arc<AddressSet>> {
        let stored = self.indexes.rule_sets.sets.interner.there(set)?.value.stored.clone();
        if stored.is_none() {
            bug!("{set:?} is looked up, and its members are not stored");
        }
        stored
    }

    /// The sets that have `changed` among those of an output, each with its place. Some may have been swept since.
    pub(in crate::translate) fn newer(
        &self,
        sets: &[SetId],
        changed: &[SetId],
    ) -> SmallVec<[(usize, &Arc<AddressSet>); 4]> {
        let place = |id: &SetId| sets.iter().position(|other| other == id);
        let stored = |id: &SetId| self.indexes.rule_sets.sets.interner.get(*id)?.value.stored.as_ref();
        changed.iter().filter_map(|id| Some((place(id)?, stored(id)?))).collect()
    }

    /// The pods that own an address, in order; `pod` is one of them.
    pub(in crate::translate) fn owners_of(&self, pod: PodId, address: &IpAddr) -> Owners {
        let key = |id: PodId| self.indexes.cluster.pod(id).map(|entry| entry.pod.key.clone());
        if self.indexes.cluster.pod(pod).is_some_and(PodEntry::is_alone) {
            return key(pod).into_iter().collect();
        }
        let mut keys: Owners = self.indexes.cluster.owners_of(address).into_iter().filter_map(key).collect();
        keys.sort_unstable();
        keys
    }

    /// Adds the addresses of a local pod that are isolated, and the rule sets that they refer to.
    pub(in crate::translate) fn isolated(
        &self,
        id: PodId,
        closed: &BTreeMap<NamespaceId, LoadKind>,
        isolated: &mut SmallVec<[(IpAddr, IsolatedPod); 4]>,
        used: &mut SmallVec<[RuleSetId; 4]>,
    ) {
        let owned: SmallVec<[(IpAddr, bool); 4]> = self.indexes.cluster.owned(id).collect();
        for (address, alone) in &owned {
            let several = if *alone { Vec::new() } else { self.indexes.cluster.owners_of(address) };
            let owners = if *alone { std::slice::from_ref(&id) } else { &several };
            let [ingress, egress] =
                Direction::ALL.map(|direction| self.isolation(direction, owners, closed, used));
            if ingress == Isolation::Open && egress == Isolation::Open {
                continue;
            }
            // From a contested address it cannot be told which of its owners a packet comes from.
            let siblings = if *alone { siblings(*address, &owned) } else { Box::default() };
            isolated.push((*address, IsolatedPod::new(ingress, egress, siblings)));
        }
    }

    /// The isolation of an address with these owners: all of them must allow a flow.
    fn isolation(
        &self,
        direction: Direction,
        owners: &[PodId],
        closed: &BTreeMap<NamespaceId, LoadKind>,
        used: &mut SmallVec<[RuleSetId; 4]>,
    ) -> Isolation {
        let mut rules: SmallVec<[(RuleSetId, Arc<RuleSet>); 4]> = SmallVec::new();
        for owner in owners {
            let group = self.indexes.cluster.pod(*owner).and_then(|entry| entry.group(direction));
            let group = group.and_then(|group| self.indexes.groups.get(group));
            match group.map(|group| group.outcome) {
                None | Some(Outcome::Open) => {}
                Some(Outcome::Closed(_)) => return Isolation::Closed,
                Some(Outcome::Rules(_))
                    if group.map(AppliedToGroup::namespace).is_some_and(|namespace| {
                        closed.contains_key(&namespace) || self.indexes.rule_sets.is_namespace_over(namespace)
                    }) =>
                {
                    return Isolation::Closed;
                }
                Some(Outcome::Rules(id)) => match self.indexes.rule_sets.interner.there(id) {
                    Some(part) if part.value.over.is_none() => {
                        rules.push((id, Arc::clone(&part.value.rules)));
                    }
                    // Also if the rule set is not there, which is a bug: left out, it would open the address.
                    _ => return Isolation::Closed,
                },
            }
        }
        // Each costs a packet a walk of its own, and an agent takes no script in which they are many.
        let distinct: BTreeSet<RuleSetId> = rules.iter().map(|(id, _)| *id).collect();
        if distinct.len() > OWNERS_PER_ADDRESS {
            return Isolation::Closed;
        }
        used.extend(rules.iter().map(|(id, _)| *id));
        // By name, for ids depend on what came first. Equal ids have equal names, so they are neighbours.
        rules.sort_by_key(|(_, a)| a.name);
        rules.dedup_by_key(|(id, _)| *id);
        match rules.pop() {
            None => Isolation::Open,
            Some((_, only)) if rules.is_empty() => Isolation::Rules(only),
            Some(last) => Isolation::All(rules.into_iter().chain([last]).map(|(_, rules)| rules).collect()),
        }
    }
}

/// The host interface of a pod that still has one, where it is known.
fn interface_of(pod: &Pod) -> Option<&HostInterface> {
    pod.addresses().filter(|addresses| !addresses.is_empty())?;
    match &pod.network {
        PodNetwork::Own { interface, .. } => interface.as_ref(),
        PodNetwork::Host => None,
    }
}

/// A pod with more addresses of a family than this always reaches itself at one address only, not across them:
/// the pairs grow with the square, and the API knows of at most one address per family today.
const CROSS_PAIRS_LIMIT: usize = 64;

/// The addresses that a pod reaches itself at from one that it alone owns: those of the same family that it alone owns.
fn siblings(address: IpAddr, owned: &[(IpAddr, bool)]) -> Box<[IpAddr]> {
    let family = owned.iter().filter(|(other, alone)| *alone && other.is_ipv4() == address.is_ipv4());
    if family.clone().count() > CROSS_PAIRS_LIMIT {
        return Box::default();
    }
    family.map(|(other, _)| *other).filter(|other| *other != address).collect()
}
