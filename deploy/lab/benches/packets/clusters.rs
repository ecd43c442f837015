//! The clusters whose rulesets are measured. The two pods that talk are isolated in both directions and allowed to
//! reach each other, so each packet walks the whole way.

use std::net::IpAddr;
use std::sync::Arc;

use flock_compiler_core::object::{Bridge, BridgeNf, Facts, Namespace, Peer, Pod, Policy, PortMatch};
use flock_compiler_core::port::{PortRange, Protocol};
use flock_compiler_core::{Change, Edit, Labels, Selector, World};
use flock_shapes::parts::{self, Pair};
use flock_shared::{NamespaceName, NodeName};
use ipnet::Ipv4Net;

use crate::layouts::Ports;
use crate::stage::{BRIDGE, BRIDGE_ADDRESS, BRIDGE_PREFIX};
use crate::{CLIENT, CLOSING_PORT, ECHO_PORT, SERVER};

/// Ports in a range: more than the compiler writes one by one.
const RANGE: u16 = 18;

/// The node.
pub(crate) fn node() -> NodeName {
    parts::node(0).name
}

/// What its agent finds where the two that talk are on a bridge.
pub(crate) fn bridged() -> Facts {
    let address = Ipv4Net::new_assert(BRIDGE_ADDRESS, BRIDGE_PREFIX);
    Facts {
        bridges: BRIDGE
            .parse()
            .map(|name| Bridge {
                name,
                addresses: vec![address.into()],
                links: [].into(),
                uplinks: [].into(),
            })
            .into_iter()
            .collect(),
        bridge_nf_v4: BridgeNf::On,
        bridge_nf_v6: BridgeNf::On,
        ..Facts::nothing_of(node())
    }
}

/// What users write: namespaces of ten pods that are closed by default, and allow their own pods on two ports. The
/// two that talk have a namespace of their own, and are in the middle of the others.
pub(crate) fn of_pods(count: usize) -> World {
    let talking = parts::namespace_name("talking");
    let others = count.saturating_sub(2);
    let mut pods: Vec<Pod> = Vec::new();
    let mut namespaces = vec![talking.clone()];
    for number in 0..others {
        if number.is_multiple_of(10) {
            namespaces.push(parts::namespace_name(&format!("ns-{}", number / 10)));
        }
        if let Some(namespace) = namespaces.last() {
            pods.push(local(namespace, &format!("pod-{number}"), parts::address(number), []));
        }
    }
    pods.extend(talkers(&talking, []));
    let policies = namespaces.iter().map(|namespace| {
        let own = || {
            let peers = parts::pods_of(namespace, Selector::everything());
            vec![parts::rule([peers], [CLOSING_PORT, ECHO_PORT].map(parts::tcp))]
        };
        let name = parts::object_name("own-pods");
        parts::policy(namespace, &name, Selector::everything(), Some(own()), Some(own()))
    });
    let policies = policies.collect();
    world(namespaces, pods, policies)
}

/// A pod that many policies select: each allows a pod of its own, and those on the ports of the server allow the
/// client, too, unless all are on these ports; then one in the middle does.
pub(crate) fn of_policies(count: usize, ports: Ports) -> World {
    let namespace = parts::namespace_name("talking");
    let key: Arc<str> = "app".into();
    let app = |name: String| -> Pair { (key.clone(), name.into()) };
    let labelled = |name: &str| parts::labelled([&app(name.to_owned())]);
    let mut pods: Vec<Pod> = talkers(&namespace, [app("client".to_owned()), app("server".to_owned())]).into();
    let egress = parts::rule([parts::pods_of(&namespace, labelled("server"))], []);
    let mut policies = vec![parts::policy(
        &namespace,
        &parts::object_name("client"),
        labelled("client"),
        Some(Vec::new()),
        Some(vec![egress]),
    )];
    for number in 0..count {
        let name = format!("peer-{number}");
        let labels: Labels = [app(name.clone())].into_iter().collect();
        pods.push(parts::pod(&namespace, &name, None, labels, parts::address(number), &[]));
        let of_policy = ports_of(ports, number);
        let serves = |port: u16| of_policy.iter().any(|range| range.contains(Protocol::Tcp, port));
        let allows_client = match ports {
            Ports::Same => number == count / 2,
            Ports::Distinct | Ports::Ranges => serves(CLOSING_PORT) || serves(ECHO_PORT),
        };
        let mut peers: Vec<Peer> = vec![parts::pods_of(&namespace, labelled(&name))];
        if allows_client {
            peers.push(parts::pods_of(&namespace, labelled("client")));
        }
        let rule = parts::rule(peers, of_policy.into_iter().map(PortMatch::Range));
        let name = parts::object_name(&format!("policy-{number}"));
        policies.push(parts::policy(&namespace, &name, labelled("server"), Some(vec![rule]), None));
    }
    world(vec![namespace], pods, policies)
}

/// The ports of the policy with a number: those of the server are among those of the first.
fn ports_of(ports: Ports, number: usize) -> Vec<PortRange> {
    let single = |port: u16| PortRange::single(Protocol::Tcp, port);
    let number = u16::try_from(number).unwrap_or(u16::MAX);
    match ports {
        Ports::Same => [CLOSING_PORT, ECHO_PORT].map(single).into(),
        // Counted up from the server's ports, and on from 1 where they end.
        Ports::Distinct => vec![single(CLOSING_PORT.checked_add(number).unwrap_or(number).max(1))],
        Ports::Ranges => {
            let per_protocol = u16::MAX / RANGE;
            let protocol = match number / per_protocol {
                0 => Protocol::Tcp,
                1 => Protocol::Udp,
                _ => Protocol::Sctp,
            };
            // The first is the one with the server's ports.
            let place = (CLOSING_PORT / RANGE + number % per_protocol) % per_protocol;
            let first = place * RANGE;
            PortRange::new(protocol, first, first + RANGE - 1).into_iter().collect()
        }
    }
}

fn talkers<const N: usize>(namespace: &NamespaceName, labels: [Pair; N]) -> [Pod; 2] {
    let mut labels = labels.into_iter();
    [("client", CLIENT), ("server", SERVER)]
        .map(|(name, address)| local(namespace, name, IpAddr::V4(address), labels.next()))
}

fn local(
    namespace: &NamespaceName,
    name: &str,
    address: IpAddr,
    labels: impl IntoIterator<Item = Pair>,
) -> Pod {
    parts::pod(namespace, name, Some(&parts::node(0)), labels.into_iter().collect(), address, &[])
}

fn world(namespaces: Vec<NamespaceName>, pods: Vec<Pod>, policies: Vec<Policy>) -> World {
    let namespaces: Vec<Namespace> =
        namespaces.into_iter().map(|namespace| parts::namespace(namespace, [])).collect();
    let mut world = World::default();
    world.apply(Change::Node(Edit::Replace(vec![parts::node(0)])));
    world.apply(Change::Namespace(Edit::Replace(namespaces)));
    world.apply(Change::Pod(Edit::Replace(pods)));
    world.apply(Change::Policy(Edit::Replace(policies)));
    world.apply(Change::NodePods(Edit::Replace(Vec::new())));
    world
}
