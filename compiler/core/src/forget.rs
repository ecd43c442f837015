//! What a change revokes of connections that are tracked, and which of them a state still allows.
//!
//! A rule set is looked up for the first direction of a connection; replies pass for as long as the connection is
//! tracked. So whoever lost something has its connections judged once more, each as its first packet would be.

mod elsewhere;

use std::net::IpAddr;
use std::sync::Arc;

pub use elsewhere::Elsewhere;

use flock_shared::prefixes::{Prefix, Prefixes};

use crate::members::{Member, Members, Service, SetElement};
use crate::nft::Transport;
use crate::object::Direction;
use crate::output::{
    AddressSet, BlockSet, Closing, IsolatedPod, Isolation, Output, PodCidrGuard, RuleSet, Union,
};
use crate::port::PortSet;

/// The addresses that may be allowed less by `new` than by `old`; perhaps more than are. Each connection that is
/// revoked has one of them as an end.
#[must_use]
pub fn lost(old: &Output, new: &Output) -> Prefixes {
    let (before, after) = (&**old.node_rules(), &**new.node_rules());
    let mut lost = Prefixes::default();
    if !std::ptr::eq(before, after) {
        let changed = before.isolated.unshared(&after.isolated);
        let isolated = changed.filter(|(_, before, after)| is_isolated_anew(*before, *after));
        lost.extend(isolated.map(|(address, ..)| address.into()));
        lost.extend(no_longer_known(before.guard.as_deref(), after.guard.as_deref()));
    }
    if !old.shares_sets_with(new) {
        // Sets that the node has no longer need no look: the pods that used them are isolated anew, or open.
        for (place, after) in new.sets().iter().enumerate() {
            // Most often all but a few sets are the very same, in the same places.
            if old.sets().get(place).is_some_and(|before| Arc::ptr_eq(before, after)) {
                continue;
            }
            // A set that is new to the node is looked up by a rule set that is new to it: its pods are isolated anew.
            let Some(before) = old.set(&after.definition.name) else { continue };
            lost.extend(members_lost(before, after));
        }
    }
    lost
}

/// The addresses that `new` isolates in whatever way: those that may have lost something where nothing is known of
/// what was allowed before.
#[must_use]
pub fn isolated(new: &Output) -> Prefixes {
    let node_rules = new.node_rules();
    let mut all: Prefixes = node_rules.isolated.iter().map(|(address, _)| *address).collect();
    all.extend(cidrs(node_rules.guard.as_deref()));
    all
}

/// Returns true if an address is a pod's of the node and isolated in some direction.
#[must_use]
pub fn isolates(output: &Output, address: IpAddr) -> bool {
    output.node_rules().isolated.get(&address).is_some_and(is_isolated)
}

/// Returns true if an address is a pod's of the node whose own connections are judged.
#[must_use]
pub fn isolates_egress(output: &Output, address: IpAddr) -> bool {
    let pod = output.node_rules().isolated.get(&address);
    pod.is_some_and(|pod| *pod.isolation(Direction::Egress) != Isolation::Open)
}

/// Returns true if a pod's address is isolated in some direction.
fn is_isolated(pod: &IsolatedPod) -> bool {
    Direction::ALL.iter().any(|direction| *pod.isolation(*direction) != Isolation::Open)
}

/// Returns true if the first packet of a connection from `source` to `destination`, neither of them the node itself,
/// passes the rules of the node for connections; a related error is no connection.
#[must_use]
pub fn allows(output: &Output, source: IpAddr, destination: IpAddr, transport: Transport) -> bool {
    let side = |direction, pod: IpAddr, peer: IpAddr| {
        let node_rules = output.node_rules();
        let Some(found) = node_rules.isolated.get(&pod) else {
            // What the dispatch does not know is open, unless it is an unknown address of guarded blocks.
            return !node_rules.guard.as_ref().is_some_and(|guard| guards(guard, direction, pod));
        };
        let mut rule_sets = found.isolation(direction).rule_sets().iter();
        // A pod always reaches itself, at each of its addresses.
        pod == peer
            || found.siblings.contains(&peer)
            || match found.isolation(direction) {
                Isolation::Open => true,
                Isolation::Closed => false,
                // Of a contested address every owner has to allow it.
                Isolation::Rules(_) | Isolation::All(_) => {
                    rule_sets.all(|rules| permits(output, rules, peer, transport))
                }
            }
    };
    side(Direction::Egress, source, destination) && side(Direction::Ingress, destination, source)
}

/// Returns true if an address is isolated in some direction in another way than before.
fn is_isolated_anew(before: Option<&IsolatedPod>, after: Option<&IsolatedPod>) -> bool {
    // What is isolated no longer has lost nothing.
    let Some(after) = after else { return false };
    let anew = |direction| {
        let is = after.isolation(direction);
        *is != Isolation::Open && before.is_none_or(|before| before.isolation(direction) != is)
    };
    // With its siblings an address loses or gains what a pod may send to itself.
    Direction::ALL.into_iter().any(anew) || before.is_some_and(|before| before.siblings != after.siblings)
}

/// The blocks that are always closed and were not, and the addresses of the others that no pod owns any more. Blocks that are
/// closed for somebody's sake revoke nothing: who it is has no connections yet, and the others there keep theirs.
fn no_longer_known(before: Option<&PodCidrGuard>, after: Option<&PodCidrGuard>) -> Vec<Prefix> {
    // Without a guard before, all of its blocks are news; without one now, nothing is closed by it.
    let (Some(before), Some(after)) = (before, after) else { return cidrs(after).collect() };
    if std::ptr::eq(before, after) {
        return Vec::new();
    }
    if before.cidrs != after.cidrs || before.closing != after.closing || after.closing != Closing::Always {
        return cidrs(Some(after)).collect();
    }
    let changed = PodCidrGuard::changes(Some(before), Some(after));
    changed.into_iter().filter(|address| !after.is_known(*address)).map(Prefix::from).collect()
}

/// The blocks, if they are always closed.
fn cidrs(guard: Option<&PodCidrGuard>) -> impl Iterator<Item = Prefix> {
    let cidrs = guard
        .filter(|guard| guard.closing == Closing::Always)
        .into_iter()
        .flat_map(|guard| guard.cidrs.iter());
    cidrs.filter_map(|cidr| Prefix::new(cidr.first(), cidr.prefix().into()).ok())
}

/// The peers that a set lost.
fn members_lost(before: &AddressSet, after: &AddressSet) -> Vec<Prefix> {
    fn of<A: Copy + Into<IpAddr>>(before: &Members<Member<A>>, after: &Members<Member<A>>) -> Vec<Prefix>
    where
        Member<A>: SetElement,
    {
        let removed = after.changes_since(before).removed;
        removed.into_iter().map(|member| Prefix::from(member.address.into())).collect()
    }
    let (mut lost, v6) = (of(&before.v4, &after.v4), of(&before.v6, &after.v6));
    lost.extend(v6);
    lost
}

/// Returns true if a direction of an address is closed: it is in the blocks and nobody owns it.
fn guards(guard: &PodCidrGuard, direction: Direction, address: IpAddr) -> bool {
    guard.closing.is_closed(direction)
        && guard.cidrs.iter().any(|cidr| cidr.contains(address))
        && !guard.is_known(address)
}

/// Returns true if a rule set lets a pod and a peer talk.
fn permits(output: &Output, rules: &RuleSet, peer: IpAddr, transport: Transport) -> bool {
    let service = match transport {
        Transport::Ports { protocol, destination_port } => Some(Service { protocol, port: destination_port }),
        // Protocols without ports are allowed by rules without ports alone.
        _ => None,
    };
    let of_port = |service: Service| {
        let Service { protocol, port } = service;
        // In order, and disjoint.
        let behind = rules.ports.partition_point(|(it, _)| (it.protocol(), it.first()) <= (protocol, port));
        let found = behind.checked_sub(1).and_then(|place| rules.ports.get(place));
        let named = rules.named.as_ref().and_then(|definition| output.set(&definition.name));
        found.is_some_and(|(range, union)| range.contains(protocol, port) && is_in(output, union, peer))
            || named.is_some_and(|set| has(set, peer, Some(service)))
    };
    let contested = || {
        rules.contested.get(&peer).is_some_and(|ports| match ports {
            PortSet::Everything => true,
            PortSet::Ranges(ranges) => {
                service.is_some_and(|to| ranges.iter().any(|range| range.contains(to.protocol, to.port)))
            }
        })
    };
    is_in(output, &rules.any_port, peer) || service.is_some_and(of_port) || contested()
}

fn is_in(output: &Output, union: &Union, peer: IpAddr) -> bool {
    let pods = union.pods.as_ref().and_then(|definition| output.set(&definition.name));
    let in_blocks = match peer {
        IpAddr::V4(peer) => match &union.v4 {
            BlockSet::Nowhere => false,
            BlockSet::Everywhere => true,
            BlockSet::Some(named) => named.ranges.contains(peer.into()),
        },
        IpAddr::V6(peer) => match &union.v6 {
            BlockSet::Nowhere => false,
            BlockSet::Everywhere => true,
            BlockSet::Some(named) => named.ranges.contains(peer.into()),
        },
    };
    in_blocks || pods.is_some_and(|set| has(set, peer, None))
}

fn has(set: &AddressSet, address: IpAddr, service: Option<Service>) -> bool {
    match address {
        IpAddr::V4(address) => set.v4.contains(&Member { address, service }),
        IpAddr::V6(address) => set.v6.contains(&Member { address, service }),
    }
}
