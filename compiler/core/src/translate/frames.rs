//! The frame of one node: its own pods, put together from the groups that they are in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::cluster::{Cluster, NodeEntry, PodEntry};
use super::groups::{Group, Groups, Outcome};
use super::links::{AddressIndex, links_of};
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
    /// The bytes that the members of sets may take in a script.
    pub(super) node_bytes: usize,
}

/// The output of a node, put together.
pub(super) struct Built {
    pub(super) output: Output,
    /// The sets that it refers to, in the output's order; all that it would refer to were no namespace closed.
    pub(super) sets: Vec<u32>,
    /// The namespaces that are closed on the node, for the script would be too large.
    pub(super) closed: BTreeSet<u32>,
}

impl Sources<'_> {
    /// The output of a node. While its sets are too large, the namespace is closed that looks up most.
    pub(super) fn output(&self, id: u32, node: &NodeEntry) -> Built {
        self.ask_for(node);
        let mut closed = BTreeSet::new();
        let (mut output, sets) = self.output_without(id, node, &closed);
        if !self.is_too_large(&output) {
            return Built { output, sets, closed };
        }
        for namespace in self.largest_first(node) {
            closed.insert(namespace);
            (output, _) = self.output_without(id, node, &closed);
            if !self.is_too_large(&output) {
                break;
            }
        }
        Built { output, sets, closed }
    }

    /// Whether the members of an output's sets take more of a script than they may.
    pub(super) fn is_too_large(&self, output: &Output) -> bool {
        output.sets().iter().map(|set| set.script_bytes).sum::<usize>() > self.node_bytes
    }

    /// The namespaces of the pods that own a node's addresses, wherever those are, by what the sets take that their
    /// rules look up.
    fn largest_first(&self, node: &NodeEntry) -> Vec<u32> {
        let mut sets: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        let addresses = node.pods.iter().flat_map(|id| self.cluster.owned(id));
        let others = addresses.filter(|(_, alone)| !alone).flat_map(|(at, _)| self.cluster.owners_of(&at));
        let owners: BTreeSet<u32> = node.pods.iter().chain(others).collect();
        for entry in owners.into_iter().filter_map(|id| self.cluster.pod(id)) {
            for group in Direction::ALL.into_iter().filter_map(|direction| entry.group(direction)) {
                if let Some(Outcome::Rules(id)) = self.groups.get(group).map(|group| group.outcome)
                    && let Some(part) = self.parts.rule_sets.get(id)
                {
                    sets.entry(entry.namespace).or_default().extend(part.value.sets.iter().copied());
                }
            }
        }
        let size = |sets: &BTreeSet<u32>| -> usize {
            sets.iter().filter_map(|set| self.members(*set)).map(|set| set.script_bytes).sum()
        };
        let name = |id: u32| self.cluster.namespace(id).map(|entry| &entry.name);
        let mut found: Vec<(usize, u32)> = sets.iter().map(|(id, sets)| (size(sets), *id)).collect();
        found.sort_unstable_by(|(a, x), (b, y)| b.cmp(a).then_with(|| name(*x).cmp(&name(*y))));
        found.into_iter().map(|(_, namespace)| namespace).collect()
    }

    /// The output of a node on which these namespaces are closed, and the sets that it refers to, in the output's order.
    fn output_without(&self, id: u32, node: &NodeEntry, closed: &BTreeSet<u32>) -> (Output, Vec<u32>) {
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
        (Output::new(node.name.clone(), Arc::new(frame), members), sets)
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
        closed: &BTreeSet<u32>,
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
        closed: &BTreeSet<u32>,
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
                        closed.contains(&namespace) || self.parts.is_namespace_over(namespace)
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
