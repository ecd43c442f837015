//! Who is in a set of pods, by its rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::cluster::{Cluster, PodEntry};
use crate::idset::number;
use crate::members::{Member, Members, Service};
use crate::object::{Peer, PodPeer, PortName};
use crate::output::{Membership, NamedDestination};
use crate::port::Protocol;

pub(super) fn peers_of(rule: &Membership) -> impl Iterator<Item = &Arc<PodPeer>> {
    let (pods, destinations): (&[_], &[_]) = match rule {
        Membership::Pods(peers) => (peers, &[]),
        Membership::Destinations(destinations) => (&[], destinations),
    };
    pods.iter().chain(destinations.iter().filter_map(|destination| match &destination.peer {
        Some(Peer::Pods(peer)) => Some(peer),
        Some(Peer::Block(_)) | None => None,
    }))
}

/// Destinations that are found by their port, not by a selector.
pub(super) fn by_port(rule: &Membership) -> impl Iterator<Item = (Protocol, PortName)> {
    let destinations: &[NamedDestination] = match rule {
        Membership::Pods(_) => &[],
        Membership::Destinations(destinations) => destinations,
    };
    let found = destinations.iter().filter(|d| !matches!(d.peer, Some(Peer::Pods(_))));
    found.map(|destination| (destination.protocol, destination.name.clone()))
}

/// Adds what a pod contributes to a set, each once, in order.
pub(super) fn contribute(
    rule: &Membership,
    id: u32,
    entry: &PodEntry,
    cluster: &Cluster,
    to: &mut Vec<Member<IpAddr>>,
) {
    match rule {
        Membership::Pods(peers) => {
            if peers.iter().any(|peer| cluster.selects(peer, entry)) {
                to.extend(cluster.owned_alone(id).map(|address| Member { address, service: None }));
            }
        }
        Membership::Destinations(destinations) => {
            let mut members = Vec::new();
            for NamedDestination { peer, protocol, name } in destinations {
                let all = match peer {
                    None | Some(Peer::Block(_)) => true,
                    Some(Peer::Pods(peer)) => cluster.selects(peer, entry),
                };
                if !all {
                    continue;
                }
                let within = |address: &IpAddr| match peer {
                    Some(Peer::Block(block)) => block.blocks().contains(*address),
                    _ => true,
                };
                for port in entry.pod.numbers(*protocol, name) {
                    let service = Some(Service { protocol: *protocol, port });
                    let reached = cluster.owned_alone(id).filter(within);
                    members.extend(reached.map(|address| Member { address, service }));
                }
            }
            members.sort_unstable();
            members.dedup();
            to.append(&mut members);
        }
    }
}

/// Every member of a set, each once.
pub(super) fn members_of(rule: &Membership, cluster: &Cluster) -> Vec<Member<IpAddr>> {
    let mut pods: Vec<u32> = Vec::new();
    peers_of(rule).for_each(|peer| cluster.matching(peer, &mut pods));
    if by_port(rule).next().is_some() {
        pods.extend(cluster.pods.iter().map(|(id, _)| number(id)));
    }
    pods.sort_unstable();
    pods.dedup();
    let mut members = Vec::with_capacity(pods.len());
    for id in pods {
        match (rule, cluster.pod(id)) {
            // That one of the peers matches it is known.
            (Membership::Pods(_), _) => {
                members.extend(cluster.owned_alone(id).map(|address| Member { address, service: None }));
            }
            (Membership::Destinations(_), Some(entry)) => contribute(rule, id, entry, cluster, &mut members),
            (Membership::Destinations(_), None) => {}
        }
    }
    members
}

pub(super) fn by_family(
    members: Vec<Member<IpAddr>>,
) -> (Members<Member<Ipv4Addr>>, Members<Member<Ipv6Addr>>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for Member { address, service } in members {
        match address {
            IpAddr::V4(address) => v4.push(Member { address, service }),
            IpAddr::V6(address) => v6.push(Member { address, service }),
        }
    }
    (v4.into_iter().collect(), v6.into_iter().collect())
}
