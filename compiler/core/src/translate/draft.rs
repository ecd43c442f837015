//! The rules that select a group of pods, merged into canonical form.
//!
//! Peers that share ports become one union, overlapping port ranges become disjoint ones, and what is allowed on
//! every port is left out of the rest: the cost of a packet does not grow with the number of policies.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::budget::{self, OverBudget};
use super::cluster::{Cluster, PodEntry};
use crate::block::Blocks;
use crate::object::{
    Direction, NamedPort, Peer, PeerMatch, Pod, PodPeer, PortMatch, PortName, Rule, RulePorts,
};
use crate::output::NamedDestination;
use crate::port::{PortRange, PortSet, Protocol, split};
use crate::sorted::Sorted;

/// The numbers that port names stand for on a group of destination pods.
pub(super) type Resolution = Sorted<NamedPort>;

/// What a group of pods allows in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Draft {
    /// Everything.
    Open,
    /// Nothing.
    Closed,
    /// Something.
    Rules(Arc<RuleDraft>),
}

/// A rule set before its parts have names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RuleDraft {
    pub(super) direction: Direction,
    pub(super) any_port: Union,
    pub(super) ports: Vec<(PortRange, Union)>,
    pub(super) named: BTreeSet<NamedDestination>,
    pub(super) contested: BTreeMap<IpAddr, PortSet>,
}

/// A union of peers: selectors and blocks. Everywhere swallows the selectors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Union {
    pub(super) pods: BTreeSet<Arc<PodPeer>>,
    pub(super) blocks: Blocks,
}

impl Union {
    fn of<'a>(peers: impl IntoIterator<Item = &'a PeerMatch>) -> Self {
        let mut pods = BTreeSet::new();
        let mut blocks: BTreeSet<&Blocks> = BTreeSet::new();
        for peers in peers {
            let PeerMatch::OneOf(peers) = peers else {
                return Self { pods: BTreeSet::new(), blocks: Blocks::everywhere() };
            };
            for peer in peers {
                match peer {
                    Peer::Pods(peer) => {
                        pods.insert(Arc::clone(peer));
                    }
                    Peer::Block(block) => {
                        blocks.insert(block.blocks());
                    }
                }
            }
        }
        Self { pods, blocks: Blocks::union_of(blocks) }.normalized()
    }

    /// Without what `other` holds already; everywhere stays, as nothing is cheaper to look up.
    fn without(mut self, other: &Self) -> Self {
        if self.blocks.is_everywhere() {
            return self;
        }
        self.pods.retain(|peer| !other.pods.contains(peer));
        self.blocks = self.blocks.without(&other.blocks);
        self.normalized()
    }

    fn normalized(mut self) -> Self {
        if self.blocks.is_everywhere() {
            self.pods.clear();
        }
        self
    }

    /// Selectors and address ranges.
    fn entries(&self) -> usize {
        self.pods.len() + self.blocks.v4.iter().len() + self.blocks.v6.iter().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pods.is_empty() && self.blocks.is_empty()
    }
}

/// Merges `rules` of one direction. `resolution` holds what port names stand for on the pods that the rules select
/// (ingress); towards other pods (egress) names are resolved on each destination.
///
/// # Errors
/// When taking overlapping ports apart goes over budget.
pub(super) fn draft<'a>(
    direction: Direction,
    rules: impl IntoIterator<Item = &'a Rule>,
    resolution: &Resolution,
    cluster: &Cluster,
) -> Result<Draft, OverBudget> {
    let mut any_port: Vec<&PeerMatch> = Vec::new();
    let mut by_peers: BTreeMap<Key<'a>, Vec<PortRange>> = BTreeMap::new();
    let mut named = BTreeSet::new();
    let rules: Vec<&Rule> = rules.into_iter().collect();
    for rule in &rules {
        let RulePorts::OneOf(ports) = &rule.ports else {
            any_port.push(&rule.peers);
            continue;
        };
        let ranges = by_peers.entry(Key(&rule.peers)).or_default();
        for port in ports {
            ranges.extend(numbers(direction, port, resolution, None));
            if let (PortMatch::Named { protocol, name }, Direction::Egress) = (port, direction) {
                named.extend(named_destinations(&rule.peers, *protocol, name));
            }
        }
    }
    let any_port = Union::of(any_port);
    if any_port.blocks.is_everywhere() {
        return Ok(Draft::Open);
    }
    let ports = merge_ports(&by_peers, &any_port)?;
    let contested = contested(direction, &rules, resolution, cluster, &any_port.blocks);
    if any_port.is_empty() && ports.is_empty() && named.is_empty() && contested.is_empty() {
        return Ok(Draft::Closed);
    }
    Ok(Draft::Rules(Arc::new(RuleDraft { direction, any_port, ports, named, contested })))
}

/// Peers as a map key: by reference, compared by content.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
struct Key<'a>(&'a PeerMatch);

fn named_destinations<'a>(
    peers: &'a PeerMatch,
    protocol: Protocol,
    name: &'a PortName,
) -> impl Iterator<Item = NamedDestination> + 'a {
    let each: Vec<Option<&Peer>> = match peers {
        PeerMatch::Any => vec![None],
        PeerMatch::OneOf(peers) => peers.iter().map(Some).collect(),
    };
    each.into_iter().map(move |peer| NamedDestination { peer: peer.cloned(), protocol, name: name.clone() })
}

/// Disjoint port ranges, each with the union of the peers of all rules that cover it.
fn merge_ports(
    by_peers: &BTreeMap<Key<'_>, Vec<PortRange>>,
    any_port: &Union,
) -> Result<Vec<(PortRange, Union)>, OverBudget> {
    let peers: Vec<&PeerMatch> = by_peers.keys().map(|key| key.0).collect();
    let ranges: Vec<(PortRange, usize)> = by_peers
        .values()
        .enumerate()
        .flat_map(|(index, ranges)| ranges.iter().map(move |r| (*r, index)))
        .collect();
    let mut unions: BTreeMap<Vec<usize>, Union> = BTreeMap::new();
    let mut merged: Vec<(PortRange, Union)> = Vec::new();
    let mut entries = 0usize;
    for (range, covering) in split(&ranges, budget::ENTRIES).ok_or(OverBudget::Entries)? {
        let union = unions.entry(covering).or_insert_with_key(|covering| {
            Union::of(covering.iter().filter_map(|index| peers.get(*index).copied())).without(any_port)
        });
        if union.is_empty() {
            continue;
        }
        match merged.last_mut() {
            Some((last, same)) if *same == *union && last.touches(&range) => *last = last.extended_to(&range),
            _ => {
                entries += union.entries();
                if entries > budget::ENTRIES {
                    return Err(OverBudget::Entries);
                }
                merged.push((range, union.clone()));
            }
        }
    }
    Ok(merged)
}

/// What the rules allow towards addresses with several owners: what each owner alone would be allowed. An address
/// that the rules allow no more than any other address of its blocks is left out: the blocks say it already.
fn contested(
    direction: Direction,
    rules: &[&Rule],
    resolution: &Resolution,
    cluster: &Cluster,
    any_port: &Blocks,
) -> BTreeMap<IpAddr, PortSet> {
    let mut found = BTreeMap::new();
    for (address, owners) in cluster.contested().filter(|(address, _)| !any_port.contains(*address)) {
        let allowed = |owner: Option<&PodEntry>| {
            let matching = rules.iter().filter(|rule| cluster.matches(&rule.peers, owner, address));
            allowed_ports(direction, matching.copied(), resolution, owner.map(|owner| &*owner.pod))
        };
        let everyone = owners
            .iter()
            .filter_map(|owner| cluster.pod(*owner))
            .map(|owner| allowed(Some(owner)))
            .fold(PortSet::Everything, |all, one| all.intersection(&one));
        if everyone != allowed(None) {
            found.insert(address, everyone);
        }
    }
    found
}

/// The ports of `rules`, with names resolved on `destination` (egress) or by `resolution` (ingress).
fn allowed_ports<'a>(
    direction: Direction,
    rules: impl Iterator<Item = &'a Rule>,
    resolution: &Resolution,
    destination: Option<&Pod>,
) -> PortSet {
    let mut ranges = Vec::new();
    for rule in rules {
        let RulePorts::OneOf(ports) = &rule.ports else { return PortSet::Everything };
        ranges.extend(ports.iter().flat_map(|port| numbers(direction, port, resolution, destination)));
    }
    PortSet::union_of(ranges)
}

/// What a rule's port comes to: names by `resolution` on ingress, on `destination` on egress.
fn numbers(
    direction: Direction,
    port: &PortMatch,
    resolution: &Resolution,
    destination: Option<&Pod>,
) -> Vec<PortRange> {
    match (port, direction) {
        (PortMatch::Range(range), _) => vec![*range],
        (PortMatch::Named { protocol, name }, Direction::Ingress) => {
            let numbers = resolution.iter().filter(|port| port.protocol == *protocol && port.name == *name);
            numbers.map(|port| PortRange::single(*protocol, port.number)).collect()
        }
        (PortMatch::Named { protocol, name }, Direction::Egress) => {
            let numbers = destination.into_iter().flat_map(|pod| pod.numbers(*protocol, name));
            numbers.map(|number| PortRange::single(*protocol, number)).collect()
        }
    }
}
