//! Where packets start and end: places with addresses, each with a network namespace behind it. Pods of the API come
//! and go on them, so addresses are used again; one place moves between the nodes for real.

use std::net::IpAddr;

use flock_lab::{Family, Pod, Protocol};

use crate::ground::{Ground, NODES};
use crate::policies::{KEPT_PORT, TCP_PORTS};
use flock_model::oracle::cluster::{Net, Node};

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Its pod stays, and so does what it is allowed by [`crate::policies::kept`].
    Keeper,
    /// Its pods come and go.
    Ordinary,
    /// So does its network namespace, to another node each time.
    Mover,
}

/// A place for a pod: addresses, and where they are in the beginning.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    /// Index in [`NODES`].
    pub(crate) node: usize,
    pub(crate) addresses: [IpAddr; 2],
}

impl Place {
    pub(crate) fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.addresses[0],
            Family::V6 => self.addresses[1],
        }
    }
}

/// All places.
pub(crate) fn places() -> Vec<Place> {
    use Role::{Keeper, Mover, Ordinary};
    let all = [
        ("k1", Keeper, 0),
        ("k2", Keeper, 1),
        ("k3", Keeper, 0),
        ("a1", Ordinary, 0),
        ("a2", Ordinary, 0),
        ("a3", Ordinary, 0),
        ("b1", Ordinary, 1),
        ("b2", Ordinary, 1),
        ("b3", Ordinary, 1),
        ("m", Mover, 0),
    ];
    let place = |(number, (name, role, node)): (u16, (&'static str, Role, usize))| {
        let [v4, v6] = [format!("10.1.0.{number}"), format!("fd00:1::{number:x}")];
        Place { name, role, node, addresses: [v4, v6].map(|address| address.parse().unwrap()) }
    };
    (10..).zip(all).map(place).collect()
}

/// The nodes, each with blocks around the places that it has in the beginning: but for the last of the second node and
/// the mover, which are open while no pod is there.
pub(crate) fn nodes() -> Vec<Node> {
    let net = |text: &str, prefix| Net { address: text.parse().unwrap(), prefix };
    let blocks = [
        vec![net("10.1.0.8", 29), net("fd00:1::8", 125)],
        vec![net("10.1.0.16", 31), net("fd00:1::10", 127)],
    ];
    NODES.iter().zip(blocks).map(|(name, pod_cidrs)| Node { pod_cidrs, ..Node::new(name) }).collect()
}

/// Makes the namespace of a place on a node, with its servers of TCP.
pub(crate) fn settle(ground: &Ground, place: &Place, node: usize) -> Pod {
    let pod = ground.node(NODES[node]).pod(place.name, &place.addresses).unwrap();
    let ports = TCP_PORTS.iter().copied().chain((place.role == Role::Keeper).then_some(KEPT_PORT));
    let services: Vec<_> = ports.map(|port| (Protocol::Tcp, port)).collect();
    pod.serve(&services).unwrap();
    pod
}
