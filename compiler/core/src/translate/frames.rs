//! The frame of one node: its own pods, put together from the groups that they are in.

use std::net::IpAddr;
use std::sync::Arc;

use super::cluster::{Cluster, NodeEntry};
use super::groups::{Groups, Outcome};
use super::parts::Parts;
use crate::object::{Direction, HostInterface, Pod, PodNetwork};
use crate::output::{Families, Frame, Isolation, Output, RuleSet, Subject};

/// What frames are made from.
pub(super) struct Sources<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) groups: &'a Groups,
    pub(super) parts: &'a Parts,
    pub(super) families: Families,
}

impl Sources<'_> {
    /// The output of a node and the sets that it refers to, in order of their numbers.
    pub(super) fn output(&self, node: &NodeEntry) -> (Output, Vec<u32>) {
        let mut frame = Frame { families: self.families, ..Frame::default() };
        let mut rule_sets: Vec<u32> = Vec::new();
        let (mut subjects, mut pairs) = (Vec::new(), Vec::new());
        for id in node.pods.iter() {
            if let Some(entry) = self.cluster.pod(id) {
                let isolated = self.subjects(id, &mut subjects, &mut rule_sets);
                let owned: Vec<(IpAddr, bool)> = self.cluster.owned(id).collect();
                if isolated {
                    hairpins(&owned, &mut pairs);
                }
                // Interfaces of pods that have reported addresses: also one that has yielded all of them, so that
                // nothing that comes from there is its own. Before the first report a source cannot be judged.
                if let Some(interface) = interface_of(&entry.pod) {
                    let anchored = frame.anchors.entry(interface.clone()).or_default();
                    anchored.extend(owned.iter().map(|(address, _)| *address));
                }
            }
        }
        frame.subjects = subjects.into_iter().collect();
        frame.hairpins = pairs.into_iter().collect();
        rule_sets.sort_unstable();
        rule_sets.dedup();
        let parts = rule_sets.iter().filter_map(|id| self.parts.rule_sets.get(*id));
        let mut sets: Vec<u32> = parts.flat_map(|part| part.value.sets.iter().copied()).collect();
        sets.sort_unstable();
        sets.dedup();
        let members = sets.iter().filter_map(|id| self.parts.sets.registry.get(*id)?.value.stored.clone());
        (Output::new(node.name.clone(), Arc::new(frame), members.collect()), sets)
    }

    /// Adds the addresses of a local pod that are isolated; whether there are any.
    fn subjects(&self, id: u32, subjects: &mut Vec<(IpAddr, Subject)>, rule_sets: &mut Vec<u32>) -> bool {
        let before = subjects.len();
        for (address, alone) in self.cluster.owned(id) {
            let several = if alone { Vec::new() } else { self.cluster.owners_of(&address) };
            let owners = if alone { std::slice::from_ref(&id) } else { &several };
            let [ingress, egress] =
                Direction::ALL.map(|direction| self.isolation(direction, owners, rule_sets));
            if ingress == Isolation::Open && egress == Isolation::Open {
                continue;
            }
            let entries = owners.iter().filter_map(|id| self.cluster.pod(*id));
            let mut pods: Box<[_]> = entries.map(|entry| entry.pod.key.clone()).collect();
            pods.sort_unstable();
            subjects.push((address, Subject { pods, ingress, egress }));
        }
        subjects.len() > before
    }

    /// The isolation of an address with these owners: all of them must allow a flow.
    fn isolation(&self, direction: Direction, owners: &[u32], used: &mut Vec<u32>) -> Isolation {
        let mut rules: Vec<(u32, Arc<RuleSet>)> = Vec::with_capacity(owners.len());
        for owner in owners {
            let group = self.cluster.pod(*owner).and_then(|entry| entry.group(direction));
            match group.and_then(|group| self.groups.get(group)).map(|group| group.outcome) {
                None | Some(Outcome::Open) => {}
                Some(Outcome::Closed(_)) => return Isolation::Closed,
                Some(Outcome::Rules(id)) => match self.parts.rule_sets.get(id) {
                    Some(part) if part.value.over.is_none() => {
                        rules.push((id, Arc::clone(&part.value.rules)));
                    }
                    _ => return Isolation::Closed,
                },
            }
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

/// Adds the pairs of a pod's addresses between which it talks to itself.
fn hairpins(owned: &[(IpAddr, bool)], pairs: &mut Vec<(IpAddr, IpAddr)>) {
    pairs.extend(owned.iter().map(|(address, _)| (*address, *address)));
    for v4 in [true, false] {
        let alone = owned.iter().filter(|(address, alone)| *alone && address.is_ipv4() == v4);
        let family: Vec<IpAddr> = alone.map(|(address, _)| *address).collect();
        if (2..=CROSS_PAIRS_LIMIT).contains(&family.len()) {
            pairs.extend(family.iter().flat_map(|a| family.iter().map(move |b| (*a, *b))));
        }
    }
}
