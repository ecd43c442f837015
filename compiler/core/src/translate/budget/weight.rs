//! What rules weigh before and after they are merged, told without merging them.

use std::collections::BTreeSet;

use crate::label::{Operator, Selector};
use crate::object::{Direction, NamespaceScope, Peer, PeerMatch, PodPeer, Rule, RulePorts};
use crate::port::{PortRange, split};
use crate::translate::budget::{ENTRIES, WIDE};
use crate::translate::rules::merge::{Resolution, at, by_place, numbers};

/// The weight of another peer of other namespaces.
const ELSEWHERE: u64 = 4;
/// So many values of a selector weigh as much as a peer.
const VALUES: usize = 16;

/// The weight of rules: a rule, a peer, an address range and a port weigh 1 each.
pub(in crate::translate) fn of(rules: &[Rule]) -> u64 {
    rules.iter().map(|rule| 1 + of_peers(&rule.peers) + of_ports(&rule.ports)).sum()
}

fn of_ports(ports: &RulePorts) -> u64 {
    match ports {
        RulePorts::Any => 0,
        RulePorts::OneOf(ports) => ports.len() as u64,
    }
}

fn of_peers(peers: &PeerMatch) -> u64 {
    match peers {
        PeerMatch::Any => 0,
        PeerMatch::OneOf(peers) => peers.iter().map(of_peer).sum(),
    }
}

fn of_peer(peer: &Peer) -> u64 {
    match peer {
        Peer::Block(block) => {
            let blocks = block.blocks();
            1 + (blocks.v4.iter().len() + blocks.v6.iter().len()) as u64
        }
        Peer::Pods(peer) => of_pod_peer(peer),
    }
}

fn of_pod_peer(peer: &PodPeer) -> u64 {
    let (reach, around) = match &peer.namespaces {
        NamespaceScope::Named(_) => (1, 0),
        NamespaceScope::Matching(selector) => {
            // The value of a label has to lead to namespaces and, unless all are meant, to their pods; whatever else is
            // taken for the worst, pods of all namespaces that are tried against it.
            let led_to =
                asks_for_value(selector) && (peer.pods.is_everything() || asks_for_value(&peer.pods));
            (if led_to { ELSEWHERE } else { WIDE }, values(selector))
        }
    };
    reach + ((around + values(&peer.pods)) / VALUES) as u64
}

fn asks_for_value(selector: &Selector) -> bool {
    selector.requirements().any(|requirement| matches!(requirement.operator, Operator::In(_)))
}

fn values(selector: &Selector) -> usize {
    let of = |operator: &Operator| match operator {
        Operator::In(values) | Operator::NotIn(values) => values.len(),
        Operator::Exists | Operator::DoesNotExist => 1,
    };
    selector.requirements().map(|requirement| of(&requirement.operator)).sum()
}

/// At most this much is what rules of a weight come to once merged, in however many groups.
pub(in crate::translate) const fn most_merged(weight: u64) -> u64 {
    // n port ranges come to 2n - 1 disjoint ones, and the more there are of them, the fewer are the peers.
    (weight / 2 + 2).saturating_mul(weight)
}

/// What rules come to once merged: disjoint port ranges, and for each different union what is in it. `None`: more than
/// [`ENTRIES`].
pub(in crate::translate) fn merged<'a>(
    direction: Direction,
    rules: impl Iterator<Item = &'a Rule>,
    resolution: &Resolution,
) -> Option<u64> {
    let mut total = 0;
    let mut ranges: Vec<(PortRange, &PeerMatch)> = Vec::new();
    for rule in rules {
        match &rule.ports {
            RulePorts::Any => total += of_peers(&rule.peers),
            RulePorts::OneOf(ports) => {
                for port in ports {
                    numbers(direction, port, resolution, None, |range| ranges.push((range, &rule.peers)));
                }
            }
        }
    }
    let (peers, ranges) = by_place(&ranges);
    let pieces = split(&ranges, ENTRIES)?;
    let weights: Vec<u64> = peers.iter().map(|peers| of_peers(peers)).collect();
    let unions: BTreeSet<&[usize]> = pieces.iter().map(|(_, covering)| &**covering).collect();
    let in_unions = unions.iter().flat_map(|union| union.iter()).filter_map(|place| at(&weights, *place));
    Some(total + pieces.len() as u64 + in_unions.sum::<u64>())
}
