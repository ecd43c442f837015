//! The rules that select a group of pods, merged into canonical form.
//!
//! Peers that share ports become one union, overlapping port ranges become disjoint ones, and what is allowed on
//! every port is left out of the rest: the cost of a packet does not grow with the number of policies.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::block::Blocks;
use crate::collections::sorted::Sorted;
use crate::invariant::bug;
use crate::object::{
    Direction, NamedPort, Peer, PeerMatch, Pod, PodPeer, PortMatch, PortName, Rule, RulePorts,
};
use crate::output::{DestinationPorts, PeerPort, RuleSet};
use crate::port::{PortRange, PortSet, Protocol, split};
use crate::translate::budget::{self, Budgets, OverBudget};
use crate::translate::index::cluster::{Dispute, DisputeOwner};
use crate::translate::rules::shareable::rule_set;

/// The numbers that port names stand for on a group of destination pods.
pub(in crate::translate) type Resolution = Sorted<NamedPort>;

/// A union of as few ports is an element for each of its pods and ports where there are many unions.
const FOLDED_PORTS: u32 = 2;
/// So many times more unions than are few are more than a node takes, together with those of others.
const TOO_MANY_UNIONS: usize = 12;
/// A union of as few ports becomes elements where there are too many unions.
const MOST_FOLDED_PORTS: u32 = 32;

/// What a group of pods allows in one direction.
#[expect(
    clippy::large_enum_variant,
    reason = "threads hand over many of them: a box would be made by one and freed by another"
)]
pub(in crate::translate) enum Merged {
    /// Everything.
    Open,
    /// Nothing.
    Closed,
    /// Something: a rule set of which nothing is shared yet.
    Rules(RuleSet),
}

/// What is at a place of a list that it was taken from. One that was left out would be a rule that is left out.
pub(in crate::translate) fn at<T>(list: &[T], place: usize) -> Option<&T> {
    let found = list.get(place);
    if found.is_none() {
        bug!("nothing is at place {place} of {}", list.len());
    }
    found
}

/// A union of peers: selectors and blocks. Everywhere swallows the selectors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::translate) struct PeerUnion {
    pub(in crate::translate) pods: Sorted<Arc<PodPeer>>,
    pub(in crate::translate) blocks: Blocks,
}

impl PeerUnion {
    fn of<'a>(peers: impl IntoIterator<Item = &'a PeerMatch>) -> Self {
        let mut pods: Vec<Arc<PodPeer>> = Vec::new();
        let mut blocks: Vec<&Blocks> = Vec::new();
        for peers in peers {
            let PeerMatch::OneOf(peers) = peers else {
                return Self { pods: Sorted::new(), blocks: Blocks::everywhere() };
            };
            for peer in peers {
                match peer {
                    Peer::Pods(peer) => pods.push(Arc::clone(peer)),
                    Peer::Block(block) => blocks.push(block.blocks()),
                }
            }
        }
        // One block is canonical as it is.
        let blocks = match *blocks {
            [only] => only.clone(),
            _ => Blocks::union_of(blocks),
        };
        Self { pods: pods.into_iter().collect(), blocks }.normalized()
    }

    /// Without what `other` holds already; everywhere stays, as nothing is cheaper to look up.
    fn without(mut self, other: &Self) -> Self {
        if self.blocks.is_everywhere() || other.is_empty() {
            return self;
        }
        let left = self.pods.iter().filter(|peer| !other.pods.contains(peer)).cloned();
        self.pods = left.collect();
        self.blocks = self.blocks.without(&other.blocks);
        self.normalized()
    }

    fn normalized(mut self) -> Self {
        if self.blocks.is_everywhere() {
            self.pods = Sorted::new();
        }
        self
    }

    /// Selectors and address ranges.
    fn entries(&self) -> usize {
        self.pods.len() + self.blocks.v4.iter().len() + self.blocks.v6.iter().len()
    }

    pub(in crate::translate) fn is_empty(&self) -> bool {
        self.pods.is_empty() && self.blocks.is_empty()
    }
}

/// Merges `rules` of one direction. `resolution` holds what port names stand for on the pods that the rules select
/// (ingress); towards other pods (egress) names are resolved on each destination.
///
/// # Errors
/// When taking overlapping ports apart goes over budget.
pub(in crate::translate) fn merge<'a>(
    direction: Direction,
    rules: impl IntoIterator<Item = &'a Rule>,
    resolution: &Resolution,
    disputes: &[Dispute],
    budgets: &Budgets,
) -> Result<Merged, OverBudget> {
    let mut any_port: Vec<&PeerMatch> = Vec::new();
    let mut ranges: Vec<(PortRange, &PeerMatch)> = Vec::new();
    let mut named: Vec<PeerPort> = Vec::new();
    let rules: Vec<&Rule> = rules.into_iter().collect();
    for rule in &rules {
        let RulePorts::OneOf(ports) = &rule.ports else {
            any_port.push(&rule.peers);
            continue;
        };
        for port in ports {
            numbers(direction, port, resolution, None, |range| ranges.push((range, &rule.peers)));
            if let (PortMatch::Named { protocol, name }, Direction::Egress) = (port, direction) {
                named.extend(named_destinations(&rule.peers, *protocol, name));
            }
        }
    }
    let any_port = PeerUnion::of(any_port);
    // Every peer on every port: no other rule can add to it.
    if any_port.blocks.is_everywhere() {
        return Ok(Merged::Open);
    }
    let (mut ports, unions) = merge_ports(&ranges, &any_port)?;
    named.extend(fold(&mut ports, &unions, budgets.few_unions));
    let contested = contested(direction, &rules, resolution, disputes, &any_port.blocks);
    if any_port.is_empty() && ports.is_empty() && named.is_empty() && contested.is_empty() {
        return Ok(Merged::Closed);
    }
    let named = named.into_iter().collect();
    Ok(Merged::Rules(rule_set(direction, any_port, &ports, unions, named, contested)))
}

fn named_destinations<'a>(
    peers: &'a PeerMatch,
    protocol: Protocol,
    name: &'a PortName,
) -> impl Iterator<Item = PeerPort> + 'a {
    let each: Vec<Option<&Peer>> = match peers {
        PeerMatch::Any => vec![None],
        PeerMatch::OneOf(peers) => peers.iter().map(Some).collect(),
    };
    let port = DestinationPorts::Named(name.clone());
    each.into_iter().map(move |peer| PeerPort { peer: peer.cloned(), protocol, port: port.clone() })
}

/// Takes out what says the same as elements of one set of addresses with ports, if there are more unions of pods than
/// `few`: a set and a chain for each is what nft and the kernel cannot bear, for their time grows with the square of the
/// number of sets (4,000: 2 s), while 65,000 elements of one set take a third of a second.
///
/// An element is needed for each pod and port, so only unions with a port or two are taken out; where there would be so
/// many of the others that a node does not take them, those of a few dozen ports, too.
fn fold(ports: &mut Vec<(PortRange, usize)>, unions: &[PeerUnion], few: usize) -> Vec<PeerPort> {
    let mut folded = Vec::new();
    for (many, most_ports) in [(few, FOLDED_PORTS), (few * TOO_MANY_UNIONS, MOST_FOLDED_PORTS)] {
        // How many ports a union has, all its ranges together: so many elements each of its pods would take.
        let mut widths = vec![0u32; unions.len()];
        for (range, place) in &*ports {
            // A range of addresses cannot be an element of a set of single addresses with ports.
            let only_pods = at(unions, *place).is_some_and(|union| union.blocks.is_empty());
            if let Some(width) = widths.get_mut(*place).filter(|_| only_pods) {
                // No overflow: a union's ranges are disjoint, so they come to 65,536 ports of each protocol at most.
                *width += u32::from(range.last() - range.first()) + 1;
            }
        }
        if widths.iter().filter(|width| **width > 0).count() <= many {
            break;
        }
        let is_folded = |place: usize| widths.get(place).is_some_and(|it| (1..=most_ports).contains(it));
        for (range, place) in ports.extract_if(.., |(_, place)| is_folded(*place)) {
            let port = DestinationPorts::Numbers { first: range.first(), last: range.last() };
            let one = |peer: &Arc<PodPeer>| PeerPort {
                peer: Some(Peer::Pods(Arc::clone(peer))),
                protocol: range.protocol(),
                port: port.clone(),
            };
            folded.extend(at(unions, place).into_iter().flat_map(|union| &*union.pods).map(one));
        }
    }
    folded
}

/// Disjoint port ranges, each with the place of a union.
type MergedPorts = (Vec<(PortRange, usize)>, Vec<PeerUnion>);

/// Disjoint port ranges, each with the union of the peers of all rules that cover it.
fn merge_ports(ranges: &[(PortRange, &PeerMatch)], any_port: &PeerUnion) -> Result<MergedPorts, OverBudget> {
    let Some((_, first)) = ranges.first() else { return Ok(MergedPorts::default()) };
    // Nearly always there is one list of peers, and nothing to be taken apart.
    let alone = ranges.iter().all(|(_, peers)| peers == first) && ranges.len() <= budget::ENTRIES / 2;
    if !alone {
        return take_apart(ranges, any_port);
    }
    let union = PeerUnion::of([*first]).without(any_port);
    let PortSet::Ranges(ranges) = PortSet::union_of(ranges.iter().map(|(range, _)| *range)) else {
        return Ok(MergedPorts::default());
    };
    if union.is_empty() {
        return Ok(MergedPorts::default());
    }
    if union.entries().saturating_mul(ranges.len()) > budget::ENTRIES {
        return Err(OverBudget::Entries);
    }
    Ok((ranges.into_iter().map(|range| (range, 0)).collect(), vec![union]))
}

/// The different peers of ranges in order, and the ranges with the places of theirs.
pub(in crate::translate) fn by_place<'a>(
    ranges: &[(PortRange, &'a PeerMatch)],
) -> (Vec<&'a PeerMatch>, Vec<(PortRange, usize)>) {
    let mut peers: Vec<&PeerMatch> = ranges.iter().map(|(_, peers)| *peers).collect();
    peers.sort_unstable();
    peers.dedup();
    let place = |wanted: &PeerMatch| {
        peers.binary_search(&wanted).unwrap_or_else(|place| {
            bug!("peers of a range are not among those of all");
            place
        })
    };
    let ranges = ranges.iter().map(|(range, peers)| (*range, place(peers))).collect();
    (peers, ranges)
}

/// The same for ranges with different peers.
fn take_apart(ranges: &[(PortRange, &PeerMatch)], any_port: &PeerUnion) -> Result<MergedPorts, OverBudget> {
    let (peers, ranges) = by_place(ranges);
    // The same rules cover many pieces, so each union is made once.
    let mut places: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
    let mut unions: Vec<PeerUnion> = Vec::new();
    let mut merged: Vec<(PortRange, usize)> = Vec::new();
    let mut entries = 0usize;
    for (range, covering) in split(&ranges, budget::ENTRIES).ok_or(OverBudget::Entries)? {
        let place = places.get(&covering).copied().unwrap_or_else(|| {
            let covered = covering.iter().filter_map(|index| at(&peers, *index).copied());
            unions.push(PeerUnion::of(covered).without(any_port));
            let place = unions.len() - 1;
            places.insert(covering, place);
            place
        });
        // Who may use these ports may use every port: there is nothing left to say.
        let Some(union) = at(&unions, place).filter(|union| !union.is_empty()) else { continue };
        // Other rules may come to an equal union. Neighbours that do are one range, so that what is equal is written
        // alike.
        let same = |other: usize| other == place || unions.get(other) == Some(union);
        match merged.last_mut() {
            Some((last, before)) if last.touches(&range) && same(*before) => *last = last.extended_to(&range),
            _ => {
                entries += union.entries();
                // Checked while it grows: what hostile rules come to must not be in memory first.
                if entries > budget::ENTRIES {
                    return Err(OverBudget::Entries);
                }
                merged.push((range, place));
            }
        }
    }
    Ok((merged, unions))
}

/// What the rules allow towards addresses with several owners: what each owner alone would be allowed. An address
/// that the rules allow no more than any other address of its blocks is left out: the blocks say it already.
fn contested(
    direction: Direction,
    rules: &[&Rule],
    resolution: &Resolution,
    disputes: &[Dispute],
    any_port: &Blocks,
) -> BTreeMap<IpAddr, PortSet> {
    let mut found = BTreeMap::new();
    for dispute in disputes.iter().filter(|dispute| !any_port.contains(dispute.address)) {
        let allowed = |owner: Option<&DisputeOwner>| {
            let matching = rules.iter().filter(|rule| dispute.is_one_of(&rule.peers, owner));
            allowed_ports(direction, matching.copied(), resolution, owner.map(|owner| &*owner.pod))
        };
        let each = dispute.owners.iter().map(|owner| allowed(Some(owner)));
        let everyone = each.fold(PortSet::Everything, |all, one| all.intersection(&one));
        if everyone != allowed(None) {
            found.insert(dispute.address, everyone);
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
        for port in ports {
            numbers(direction, port, resolution, destination, |range| ranges.push(range));
        }
    }
    PortSet::union_of(ranges)
}

/// Says what a rule's port comes to: names by `resolution` on ingress, on `destination` on egress.
pub(in crate::translate) fn numbers(
    direction: Direction,
    port: &PortMatch,
    resolution: &Resolution,
    destination: Option<&Pod>,
    mut say: impl FnMut(PortRange),
) {
    match (port, direction) {
        (PortMatch::Range(range), _) => say(*range),
        (PortMatch::Named { protocol, name }, Direction::Ingress) => {
            let numbers = resolution.iter().filter(|port| port.protocol == *protocol && port.name == *name);
            numbers.for_each(|port| say(PortRange::single(*protocol, port.number)));
        }
        (PortMatch::Named { protocol, name }, Direction::Egress) => {
            let numbers = destination.into_iter().flat_map(|pod| pod.numbers(*protocol, name));
            numbers.for_each(|number| say(PortRange::single(*protocol, number)));
        }
    }
}
