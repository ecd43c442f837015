//! Small but nasty clusters, and flows that hit them: few addresses, labels and ports, so that selectors overlap,
//! blocks cut through pods, addresses are contested and ports lie on the edges of ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::{btree_map, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use super::cluster::{
    Cluster, ContainerPort, Direction, Expression, Labels, Namespace, Net, Operator, Peer, Phase, Pod, Policy,
    PolicySpec, Port, PortNumber, Protocol, Rule, Selector, Text,
};
use super::flow::{Flow, State, Transport};

const NODES: &[Text] = &["n0", "n1", "n2", "n3"];
const NAMESPACES: &[Text] = &["ns0", "ns1", "ns2", "ns3"];
const POD_NAMES: &[Text] = &["a", "b", "c", "d", "e", "f"];
const POLICY_NAMES: &[Text] = &["p", "q", "r", "s"];
const KEYS: &[Text] = &["app", "tier", "env"];
const VALUES: &[Text] = &["x", "y", ""];
const INTERFACES: &[Text] = &["veth0", "veth1", "veth2", "veth3", "veth4", "veth5", "veth6", "veth7", "veth8", "veth9"];
const PORT_NAMES: &[Text] = &["web", "dns"];
const PORTS: &[u16] = &[80, 79, 81, 53, 443, 444, 1, 8080, 65534, 65535];
const PREFIXES_V4: &[u8] = &[32, 31, 30, 29, 28, 24, 8, 1, 0];
const PREFIXES_V6: &[u8] = &[128, 127, 126, 125, 124, 64, 8, 1, 0];

/// Addresses that pods may have; they lie on both sides of the edge of a /29, as the IPv6 ones do of a /126.
fn pool_v4() -> impl Strategy<Value = Ipv4Addr> {
    (1u8..=9).prop_map(|last| Ipv4Addr::new(10, 0, 0, last))
}

fn pool_v6() -> impl Strategy<Value = Ipv6Addr> {
    (1u16..=6).prop_map(|last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last))
}

fn pool() -> impl Strategy<Value = IpAddr> {
    prop_oneof![3 => pool_v4().prop_map(IpAddr::V4), 2 => pool_v6().prop_map(IpAddr::V6)]
}

/// IPv4 addresses that no pod has: neighbours of the pool, edges of likely blocks and of the address space, anything.
fn outside_v4() -> impl Strategy<Value = Ipv4Addr> {
    let edges = [
        "10.0.0.0",
        "10.0.0.10",
        "10.0.0.15",
        "10.0.0.16",
        "10.0.0.255",
        "10.0.1.0",
        "9.255.255.255",
        "11.0.0.0",
        "0.0.0.0",
        "127.255.255.255",
        "128.0.0.0",
        "255.255.255.255",
    ];
    let edges = edges.map(|text| text.parse().unwrap()).to_vec();
    prop_oneof![3 => select(edges), 1 => any::<u32>().prop_map(Ipv4Addr::from)]
}

/// The same of IPv6.
fn outside_v6() -> impl Strategy<Value = Ipv6Addr> {
    let edges = [
        "fd00::",
        "fd00::7",
        "fd00::8",
        "fd00::f",
        "fd00::10",
        "fd00::ffff:ffff:ffff:ffff",
        "fd00:0:0:1::",
        "fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe00::",
        "::",
        "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "8000::",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "::a00:1",
    ];
    let edges = edges.map(|text| text.parse().unwrap()).to_vec();
    prop_oneof![3 => select(edges), 1 => any::<u128>().prop_map(Ipv6Addr::from)]
}

fn outside() -> impl Strategy<Value = IpAddr> {
    prop_oneof![outside_v4().prop_map(IpAddr::V4), outside_v6().prop_map(IpAddr::V6)]
}

fn labels() -> impl Strategy<Value = Labels> {
    btree_map(select(KEYS), select(VALUES), 0..=3)
}

fn expression() -> impl Strategy<Value = Expression> {
    let values = || vec(select(VALUES), 1..=2);
    prop_oneof![
        (select(KEYS), values()).prop_map(|(key, values)| Expression { key, operator: Operator::In, values }),
        (select(KEYS), values()).prop_map(|(key, values)| Expression { key, operator: Operator::NotIn, values }),
        select(KEYS).prop_map(|key| Expression { key, operator: Operator::Exists, values: Vec::new() }),
        select(KEYS).prop_map(|key| Expression { key, operator: Operator::DoesNotExist, values: Vec::new() }),
    ]
}

fn selector() -> impl Strategy<Value = Selector> {
    let of = |match_labels, match_expressions| Selector { match_labels, match_expressions };
    prop_oneof![
        3 => Just(Selector::default()),
        4 => btree_map(select(KEYS), select(VALUES), 1..=1).prop_map(move |pairs| of(pairs, Vec::new())),
        2 => vec(expression(), 1..=2).prop_map(move |expressions| of(Labels::new(), expressions)),
        1 => (btree_map(select(KEYS), select(VALUES), 0..=2), vec(expression(), 0..=2))
            .prop_map(move |(pairs, expressions)| of(pairs, expressions)),
    ]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![4 => Just(Protocol::Tcp), 2 => Just(Protocol::Udp), 2 => Just(Protocol::Sctp)]
}

fn port() -> impl Strategy<Value = Port> {
    let number = prop_oneof![
        4 => select(PORTS).prop_map(PortNumber::Number),
        3 => (select(PORTS), select(PORTS)).prop_map(|(a, b)| PortNumber::Range(a.min(b), a.max(b))),
        4 => select(PORT_NAMES).prop_map(PortNumber::Name),
        1 => Just(PortNumber::All),
    ];
    (protocol(), number).prop_map(|(protocol, port)| Port { protocol, port })
}

/// A block around the pool or far from it, and holes strictly inside: nested, adjacent, equal, or all of it.
fn block() -> impl Strategy<Value = Peer> {
    let v4 = (pool_v4().prop_map(IpAddr::V4), select(PREFIXES_V4));
    let v6 = (pool_v6().prop_map(IpAddr::V6), select(PREFIXES_V6));
    let anywhere = outside().prop_flat_map(|address| {
        let prefixes = if address.is_ipv4() { PREFIXES_V4 } else { PREFIXES_V6 };
        (Just(address), select(prefixes))
    });
    let holes = vec((any::<u128>(), any::<bool>(), 1u8..=8), 0..=3);
    (prop_oneof![3 => v4, 2 => v6, 1 => anywhere], holes).prop_map(|((address, prefix), holes)| {
        let cidr = Net { address, prefix };
        Peer::Block { cidr, except: holes.into_iter().filter_map(|hole| self::hole(cidr, hole)).collect() }
    })
}

/// A block strictly within `cidr`: near the pool if `near`, and `deeper` bits deeper or so narrow as the pool is.
fn hole(cidr: Net, (random, near, deeper): (u128, bool, u8)) -> Option<Net> {
    let width = if cidr.address.is_ipv4() { 32 } else { 128 };
    if cidr.prefix >= width {
        return None;
    }
    // The pool differs in its lowest four bits.
    let host_bits = u32::from(width - cidr.prefix).min(if near { 4 } else { 128 });
    let mask = 1u128.checked_shl(host_bits).map_or(u128::MAX, |bit| bit - 1);
    let flip = |bits: u128| (bits & !mask) | (random & mask);
    let address = match cidr.address {
        IpAddr::V4(address) => IpAddr::V4(u32::try_from(flip(u128::from(u32::from(address)))).ok()?.into()),
        IpAddr::V6(address) => IpAddr::V6(flip(address.into()).into()),
    };
    let prefix = if near { (width - deeper / 2).max(cidr.prefix + 1) } else { (cidr.prefix + deeper).min(width) };
    Some(Net { address, prefix })
}

fn peer() -> impl Strategy<Value = Peer> {
    prop_oneof![
        2 => selector().prop_map(|pods| Peer::Pods { pods: Some(pods), namespaces: None }),
        1 => selector().prop_map(|namespaces| Peer::Pods { pods: None, namespaces: Some(namespaces) }),
        2 => (selector(), selector())
            .prop_map(|(pods, namespaces)| Peer::Pods { pods: Some(pods), namespaces: Some(namespaces) }),
        3 => block(),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    (weighted(0.75, vec(peer(), 0..=3)), weighted(0.75, vec(port(), 0..=4)))
        .prop_map(|(peers, ports)| Rule { peers, ports })
}

fn types() -> impl Strategy<Value = Vec<Direction>> {
    select(vec![
        vec![Direction::Ingress, Direction::Egress],
        vec![Direction::Ingress],
        vec![Direction::Egress],
        vec![Direction::Egress, Direction::Ingress],
    ])
}

fn policy() -> impl Strategy<Value = Policy> {
    let understood = (
        prop_oneof![4 => types().prop_map(Some), 2 => Just(None), 1 => Just(Some(Vec::new()))],
        weighted(0.8, vec(rule(), 0..=3)),
        weighted(0.8, vec(rule(), 0..=3)),
    )
        .prop_map(|(types, ingress, egress)| PolicySpec::Understood { types, ingress, egress });
    let spec = prop_oneof![12 => understood, 1 => types().prop_map(|types| PolicySpec::NotUnderstood { types })];
    (select(NAMESPACES), select(POLICY_NAMES), selector(), spec)
        .prop_map(|(namespace, name, pod_selector, spec)| Policy { namespace, name, pod_selector, spec })
}

fn container_port() -> impl Strategy<Value = ContainerPort> {
    (select(PORT_NAMES), protocol(), select(PORTS))
        .prop_map(|(name, protocol, number)| ContainerPort { name, protocol, number })
}

fn pod() -> impl Strategy<Value = Pod> {
    let phase = prop_oneof![
        12 => Just(Phase::Running),
        1 => Just(Phase::Pending),
        1 => Just(Phase::Succeeded),
        1 => Just(Phase::Failed),
    ];
    (
        (select(NAMESPACES), select(POD_NAMES), weighted(0.95, select(NODES))),
        labels(),
        (prop::bool::weighted(0.1), prop::bool::weighted(0.15), phase),
        vec(pool(), 0..=3),
        vec(container_port(), 0..=3),
    )
        .prop_map(|((namespace, name, node), labels, (host_network, deleting, phase), mut addresses, ports)| {
            addresses.sort_unstable();
            addresses.dedup();
            let interface = None;
            Pod { namespace, name, node, labels, host_network, deleting, phase, addresses, ports, interface }
        })
}

/// A cluster of up to 4 nodes, 4 namespaces, 10 pods and 8 policies; names are unique per kind and namespace. In half
/// of the clusters some pods' interfaces are known, each pod's its own. Now and then an object lacks its namespace.
pub(crate) fn cluster() -> impl Strategy<Value = Cluster> {
    let namespaces = (vec(labels(), NAMESPACES.len()), 1..=NAMESPACES.len(), prop::bool::weighted(0.05));
    let links = prop_oneof![Just(vec![false; 10]), vec(any::<bool>(), 10)];
    (1..=NODES.len(), namespaces, vec(pod(), 2..=10), vec(policy(), 0..=8), links).prop_map(
        |(nodes, (labels, count, forgotten), mut pods, mut policies, links)| {
            let nodes = &NODES[..nodes];
            let names = &NAMESPACES[..count];
            // Names beyond the cluster's own are folded into them.
            let fold = |name: Text, all: &[Text], own: &[Text]| {
                own[all.iter().position(|other| *other == name).unwrap_or_default() % own.len()]
            };
            for pod in &mut pods {
                pod.namespace = fold(pod.namespace, NAMESPACES, names);
                pod.node = pod.node.map(|name| fold(name, NODES, nodes));
            }
            for policy in &mut policies {
                policy.namespace = fold(policy.namespace, NAMESPACES, names);
            }
            let mut namespaces: Vec<Namespace> =
                names.iter().zip(labels).map(|(name, labels)| Namespace { name, labels }).collect();
            if forgotten {
                namespaces.pop();
            }
            let mut unique = Vec::new();
            for mut pod in pods {
                if !unique.iter().any(|other: &Pod| (other.namespace, other.name) == (pod.namespace, pod.name)) {
                    pod.interface = links[unique.len()].then(|| INTERFACES[unique.len()]);
                    unique.push(pod);
                }
            }
            policies.sort_by_key(|policy| (policy.namespace, policy.name));
            policies.dedup_by_key(|policy| (policy.namespace, policy.name));
            Cluster { nodes: nodes.to_vec(), namespaces, pods: unique, policies }
        },
    )
}

/// A flow between two addresses of one family, biased to the pool and to the edges of what policies name.
pub(crate) fn flow() -> impl Strategy<Value = Flow> {
    let number = || {
        prop_oneof![
            6 => select(PORTS),
            3 => (select(PORTS), any::<bool>())
                .prop_map(|(port, up)| if up { port.wrapping_add(1) } else { port.wrapping_sub(1) }),
            1 => any::<u16>(),
        ]
    };
    let transport = prop_oneof![
        16 => (protocol(), number(), number()).prop_map(|(protocol, from, to)| Transport::Ports(protocol, from, to)),
        2 => (select(vec![8u8, 3, 11, 128, 1, 133, 134, 135, 136, 137]), select(vec![64u8, 255]))
            .prop_map(|(kind, hop_limit)| Transport::Icmp { kind, hop_limit }),
        1 => select(vec![47u8, 50, 4]).prop_map(Transport::Other),
    ];
    let state = prop_oneof![20 => Just(State::Original), 1 => Just(State::Reply), 1 => Just(State::Related)];
    let v4 = || prop_oneof![4 => pool_v4(), 1 => outside_v4()].prop_map(IpAddr::V4);
    let v6 = || prop_oneof![4 => pool_v6(), 1 => outside_v6()].prop_map(IpAddr::V6);
    let ends = prop_oneof![3 => (v4(), v4()), 2 => (v6(), v6())];
    (ends, transport, state).prop_map(|((source, destination), transport, state)| Flow {
        source,
        destination,
        transport,
        state,
        inbound: None,
    })
}
