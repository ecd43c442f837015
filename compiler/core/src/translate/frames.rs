//! The frame of one node: its own pods, put together from the groups that they are in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::cluster::{Cluster, NodeEntry, PodEntry};
use super::groups::{Group, Groups, Outcome};
use super::links::{AddressIndex, links_of};
use super::load::{Kind, Load};
use super::parts::Parts;
use super::unready::Guards;
use crate::nft::costs::OWNERS_PER_ADDRESS;
use crate::object::{Direction, HostInterface, Pod, PodNetwork};
use crate::output::{Families, Frame, Isolation, MemberSet, Output, Owners, RuleSet, Subject};
use crate::world::World;

/// Mostly so few that they need no allocation.
pub(super) type Few<T> = SmallVec<[T; 4]>;

/// What frames are made from.
pub(super) struct Sources<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) groups: &'a Groups,
    pub(super) parts: &'a Parts,
    pub(super) guards: &'a Guards,
    pub(super) world: &'a World,
    pub(super) node_addresses: &'a AddressIndex,
    pub(super) families: Families,
    /// What a table may come to.
    pub(super) most: Load,
}

/// The output of a node, put together.
pub(super) struct Built {
    pub(super) output: Output,
    /// The sets that it refers to, in the output's order; all that it would refer to were no namespace closed.
    pub(super) sets: Vec<u32>,
    /// The namespaces that are closed on the node, for the table would be too large, and what there would be too much of.
    pub(super) closed: BTreeMap<u32, Kind>,
    /// At most so much its rule sets come to without the sets of pods that they look up.
    pub(super) load: Load,
}

impl Sources<'_> {
    /// The output of a node. While its table is too large, the namespace is closed that uses most of what there is too
    /// much of.
    pub(super) fn output(&self, id: u32, node: &NodeEntry) -> Built {
        self.ask_for(node);
        let (output, sets, used) = self.output_without(id, node, &BTreeMap::new());
        let load = self.parts.load_at_most(&used);
        let mut closed = BTreeMap::new();
        if self.excess(&output, load).is_none() {
            return Built { output, sets, closed, load };
        }
        let families = self.families_count();
        if self.parts.load(&used.iter().copied().collect(), families).excess(&self.most).is_some() {
            closed = self.to_close(node);
        }
        if closed.is_empty() {
            return Built { output, sets, closed, load };
        }
        let (output, _, used) = self.output_without(id, node, &closed);
        Built { output, sets, closed, load: self.parts.load_at_most(&used) }
    }

    const fn families_count(&self) -> u64 {
        self.families.v4 as u64 + self.families.v6 as u64
    }

    /// What there may be too much of on a node with this output, whose rule sets come to no more than `load`.
    pub(super) fn excess(&self, output: &Output, load: Load) -> Option<Kind> {
        let families = self.families_count();
        let sets: Load = output.sets().iter().map(|set| Load::of_set(set, families)).sum();
        (load + sets).excess(&self.most)
    }

    /// The namespaces that are to be closed on a node. The owners of its addresses count, wherever they are.
    fn to_close(&self, node: &NodeEntry) -> BTreeMap<u32, Kind> {
        let mut rule_sets: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        let addresses = node.pods.iter().flat_map(|id| self.cluster.owned(id));
        let others = addresses.filter(|(_, alone)| !alone).flat_map(|(at, _)| self.cluster.owners_of(&at));
        let owners: BTreeSet<u32> = node.pods.iter().chain(others).collect();
        for entry in owners.into_iter().filter_map(|id| self.cluster.pod(id)) {
            for group in Direction::ALL.into_iter().filter_map(|direction| entry.group(direction)) {
                if let Some(Outcome::Rules(id)) = self.groups.get(group).map(|group| group.outcome)
                    && self.parts.rule_sets.get(id).is_some_and(|part| part.value.over.is_none())
                    && !self.parts.is_namespace_over(entry.namespace)
                {
                    rule_sets.entry(entry.namespace).or_default().insert(id);
                }
            }
        }
        let families = self.families_count();
        let name = |id: u32| self.cluster.namespace(id).map(|entry| &entry.name);
        let loads: BTreeMap<u32, Load> =
            rule_sets.iter().map(|(id, rules)| (*id, self.parts.load(rules, families))).collect();
        let mut closed = BTreeMap::new();
        loop {
            let left: BTreeSet<u32> = rule_sets.values().flatten().copied().collect();
            let Some(kind) = self.parts.load(&left, families).excess(&self.most) else { return closed };
            let of = |id: &u32| loads.get(id).map(|load| kind.of(load));
            // Of equal ones the first by name, for numbers depend on what came first.
            let most = rule_sets
                .keys()
                .copied()
                .max_by(|a, b| of(a).cmp(&of(b)).then_with(|| name(*b).cmp(&name(*a))));
            let Some(most) = most else { return closed };
            rule_sets.remove(&most);
            closed.insert(most, kind);
        }
    }

    /// The output of a node on which these namespaces are closed, the sets that it refers to, in the output's order, and
    /// its rule sets.
    fn output_without(
        &self,
        id: u32,
        node: &NodeEntry,
        closed: &BTreeMap<u32, Kind>,
    ) -> (Output, Vec<u32>, Few<u32>) {
        let unready = self.guards.of(id);
        let (mut subjects, mut rule_sets, mut owners) = (Few::new(), Few::new(), Vec::new());
        let mut anchors: BTreeMap<HostInterface, BTreeSet<IpAddr>> = BTreeMap::new();
        for id in node.pods.iter() {
            let Some(entry) = self.cluster.pod(id) else { continue };
            let known = subjects.len();
            self.subjects(id, closed, &mut subjects, &mut rule_sets);
            let own = subjects.iter().skip(known).map(|(address, _)| (*address, self.owners_of(id, address)));
            owners.extend(own);
            // Interfaces of pods that have reported addresses: also one that has yielded all of them, so that
            // nothing that comes from there is its own. Before the first report a source cannot be judged.
            if let Some(interface) = interface_of(&entry.pod) {
                let anchored = anchors.entry(interface.clone()).or_default();
                anchored.extend(self.cluster.owned(id).map(|(address, _)| address));
            }
        }
        let links = links_of(node, !anchors.is_empty(), self.world, self.cluster, self.node_addresses);
        let frame = Frame {
            families: self.families,
            owners: Arc::new(owners.into_iter().collect()),
            subjects: subjects.into_iter().collect(),
            anchors: Arc::new(anchors),
            unready,
            links,
        };
        rule_sets.sort_unstable();
        rule_sets.dedup();
        let parts = rule_sets.iter().filter_map(|id| self.parts.rule_sets.get(*id));
        let mut sets: Vec<u32> = parts.flat_map(|part| part.value.sets.iter().copied()).collect();
        sets.sort_unstable();
        sets.dedup();
        let mut members: Vec<(u32, Arc<MemberSet>)> =
            sets.into_iter().filter_map(|id| Some((id, self.members(id)?))).collect();
        members.sort_unstable_by(|(_, a), (_, b)| a.definition.name.cmp(&b.definition.name));
        let (sets, members) = members.into_iter().unzip();
        (Output::new(node.name.clone(), Arc::new(frame), members), sets, rule_sets)
    }

    /// The members of a set that some rule set within budget looks up.
    pub(super) fn members(&self, set: u32) -> Option<Arc<MemberSet>> {
        self.parts.sets.registry.get(set)?.value.stored.clone()
    }

    /// The pods that own an address, in order; `pod` is one of them.
    pub(super) fn owners_of(&self, pod: u32, address: &IpAddr) -> Owners {
        let key = |id: u32| self.cluster.pod(id).map(|entry| entry.pod.key.clone());
        if self.cluster.pod(pod).is_some_and(PodEntry::is_alone) {
            return key(pod).into_iter().collect();
        }
        let mut keys: Owners = self.cluster.owners_of(address).into_iter().filter_map(key).collect();
        keys.sort_unstable();
        keys
    }

    /// Adds the addresses of a local pod that are isolated, and the rule sets that they refer to.
    pub(super) fn subjects(
        &self,
        id: u32,
        closed: &BTreeMap<u32, Kind>,
        subjects: &mut Few<(IpAddr, Subject)>,
        used: &mut Few<u32>,
    ) {
        let owned: Few<(IpAddr, bool)> = self.cluster.owned(id).collect();
        for (address, alone) in &owned {
            let several = if *alone { Vec::new() } else { self.cluster.owners_of(address) };
            let owners = if *alone { std::slice::from_ref(&id) } else { &several };
            let [ingress, egress] =
                Direction::ALL.map(|direction| self.isolation(direction, owners, closed, used));
            if ingress == Isolation::Open && egress == Isolation::Open {
                continue;
            }
            let siblings = if *alone { siblings(*address, &owned) } else { Box::default() };
            subjects.push((*address, Subject::new(ingress, egress, siblings)));
        }
    }

    /// The isolation of an address with these owners: all of them must allow a flow.
    fn isolation(
        &self,
        direction: Direction,
        owners: &[u32],
        closed: &BTreeMap<u32, Kind>,
        used: &mut Few<u32>,
    ) -> Isolation {
        let mut rules: Few<(u32, Arc<RuleSet>)> = Few::new();
        for owner in owners {
            let group = self.cluster.pod(*owner).and_then(|entry| entry.group(direction));
            let group = group.and_then(|group| self.groups.get(group));
            match group.map(|group| group.outcome) {
                None | Some(Outcome::Open) => {}
                Some(Outcome::Closed(_)) => return Isolation::Closed,
                Some(Outcome::Rules(_))
                    if group.map(Group::namespace).is_some_and(|namespace| {
                        closed.contains_key(&namespace) || self.parts.is_namespace_over(namespace)
                    }) =>
                {
                    return Isolation::Closed;
                }
                Some(Outcome::Rules(id)) => match self.parts.rule_sets.get(id) {
                    Some(part) if part.value.over.is_none() => {
                        rules.push((id, Arc::clone(&part.value.rules)));
                    }
                    _ => return Isolation::Closed,
                },
            }
        }
        // Each costs a packet a walk of its own, and an agent takes no script in which they are many.
        let distinct: BTreeSet<u32> = rules.iter().map(|(id, _)| *id).collect();
        if distinct.len() > OWNERS_PER_ADDRESS {
            return Isolation::Closed;
        }
        used.extend(rules.iter().map(|(id, _)| *id));
        rules.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
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
