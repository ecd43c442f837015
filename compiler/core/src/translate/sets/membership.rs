//! Who is in a set of pods, by its rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::collections::ids::PodId;
use crate::members::{Member, Members, Service};
use crate::object::{Peer, PodPeer, PortName};
use crate::output::{DestinationPorts, Membership, PeerPort};
use crate::port::Protocol;
use crate::translate::index::cluster::{Cluster, PodEntry};

pub(in crate::translate) fn peers_of(rule: &Membership) -> impl Iterator<Item = &Arc<PodPeer>> {
    let (pods, destinations): (&[_], &[_]) = match rule {
        Membership::Pods(peers) => (peers, &[]),
        Membership::Destinations(destinations) => (&[], destinations),
    };
    pods.iter().chain(destinations.iter().filter_map(|destination| match &destination.peer {
        Some(Peer::Pods(peer)) => Some(peer),
        Some(Peer::Block(_)) | None => None,
    }))
}

/// Peers that are found by the name of their port, not by a selector.
pub(in crate::translate) fn by_port(rule: &Membership) -> impl Iterator<Item = (Protocol, PortName)> {
    let destinations: &[PeerPort] = match rule {
        Membership::Pods(_) => &[],
        Membership::Destinations(destinations) => destinations,
    };
    let found = destinations.iter().filter(|d| !matches!(d.peer, Some(Peer::Pods(_))));
    found.filter_map(|destination| match &destination.port {
        DestinationPorts::Named(name) => Some((destination.protocol, name.clone())),
        DestinationPorts::Numbers { .. } => None,
    })
}

/// Adds what a pod contributes to a set, each once, in order.
pub(in crate::translate) fn contribute(
    rule: &Membership,
    id: PodId,
    entry: &PodEntry,
    cluster: &Cluster,
    to: &mut Vec<Member<IpAddr>>,
) {
    match rule {
        Membership::Pods(peers) => {
            if peers.iter().any(|peer| cluster.selects(peer, entry)) {
                // A contested address is in no shared set: the rule set itself says what all of its owners are allowed.
                to.extend(cluster.owned_alone(id).map(|address| Member { address, service: None }));
            }
        }
        Membership::Destinations(destinations) => {
            let mut members = Vec::new();
            // Destinations are in order of their peers, so a peer with many ports is tried once.
            for of_peer in destinations.chunk_by(|a, b| a.peer == b.peer) {
                let is_one = match of_peer.first().and_then(|first| first.peer.as_ref()) {
                    None | Some(Peer::Block(_)) => true,
                    Some(Peer::Pods(peer)) => cluster.selects(peer, entry),
                };
                if is_one {
                    of_peer.iter().for_each(|one| serve(one, id, entry, cluster, &mut members));
                }
            }
            // Several peers may name the same port of a pod.
            members.sort_unstable();
            members.dedup();
            to.append(&mut members);
        }
    }
}

/// Adds the addresses of a pod with the ports that go with them; that the peer's selector matches the pod is known.
fn serve(one: &PeerPort, id: PodId, entry: &PodEntry, cluster: &Cluster, to: &mut Vec<Member<IpAddr>>) {
    let PeerPort { peer, protocol, port } = one;
    let within = |address: &IpAddr| match peer {
        Some(Peer::Block(block)) => block.blocks().contains(*address),
        _ => true,
    };
    let mut on = |port: u16| {
        let service = Some(Service { protocol: *protocol, port });
        let reached = cluster.owned_alone(id).filter(within);
        to.extend(reached.map(|address| Member { address, service }));
    };
    match port {
        DestinationPorts::Named(name) => entry.pod.numbers(*protocol, name).for_each(on),
        // A few dozen at most: wider unions are never folded into such sets.
        DestinationPorts::Numbers { first, last } => (*first..=*last).for_each(&mut on),
    }
}

/// Every member of a set, each once.
pub(in crate::translate) fn members_of(rule: &Membership, cluster: &Cluster) -> Vec<Member<IpAddr>> {
    match rule {
        Membership::Pods(peers) => {
            let mut pods: Vec<PodId> = Vec::new();
            peers.iter().for_each(|peer| cluster.matching(peer, &mut pods));
            pods.sort_unstable();
            pods.dedup();
            let members = pods.into_iter().flat_map(|id| cluster.owned_alone(id));
            members.map(|address| Member { address, service: None }).collect()
        }
        Membership::Destinations(destinations) => {
            let (mut pods, mut members) = (Vec::new(), Vec::new());
            // Each peer is looked for once, and no pod is tried against the peers of all others.
            for of_peer in destinations.chunk_by(|a, b| a.peer == b.peer) {
                pods.clear();
                match of_peer.first().and_then(|first| first.peer.as_ref()) {
                    Some(Peer::Pods(peer)) => cluster.matching(peer, &mut pods),
                    // No selector narrows them down: any pod may have such a port.
                    None | Some(Peer::Block(_)) => pods.extend(cluster.pods.ids()),
                }
                for (id, entry) in pods.iter().filter_map(|id| Some((*id, cluster.pod(*id)?))) {
                    of_peer.iter().for_each(|one| serve(one, id, entry, cluster, &mut members));
                }
            }
            members.sort_unstable();
            members.dedup();
            members
        }
    }
}

pub(in crate::translate) fn by_family(
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
