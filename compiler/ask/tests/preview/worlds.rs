//! Small worlds with few addresses, labels and ports, so that selectors overlap, blocks cut through pods and addresses are
//! contested; and what may be proposed in them.

use std::net::IpAddr;
use std::sync::Arc;

use flock_ask::Proposed;
use flock_compiler_core::object::{
    IpBlock, Lifecycle, NamedPort, Namespace, NamespaceScope, Node, Peer, PeerMatch, Pod, PodCidr,
    PodNetwork, PodPeer, Policy, PolicyBody, PolicyRules, PortMatch, PortName, Rule, RulePorts, Types,
};
use flock_compiler_core::port::{PortRange, Protocol};
use flock_compiler_core::sorted::Sorted;
use flock_compiler_core::{Change, Edit, Labels, Operator, Requirement, Selector, World};
use flock_shared::{NamespaceName, NodeName, ObjectKey};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};

pub(crate) const PORTS: &[u16] = &[0, 53, 79, 80, 81, 443, 65535];
pub(crate) const BLOCKS: &[(&str, &[&str])] = &[
    ("0.0.0.0/0", &[]),
    ("0.0.0.0/0", &["10.0.0.0/8"]),
    ("10.0.0.0/29", &["10.0.0.2/32", "10.0.0.4/31"]),
    ("10.0.0.3/32", &[]),
    ("192.0.2.0/24", &["192.0.2.64/26"]),
    ("::/0", &["fd00::/64"]),
    ("fd00::/127", &[]),
    ("2001:db8::/32", &[]),
];
/// Addresses on both sides of the edges of blocks.
pub(crate) const OUTSIDE: &[&str] = &[
    "0.0.0.0",
    "9.255.255.255",
    "10.0.0.0",
    "10.0.0.7",
    "10.0.0.8",
    "11.0.0.0",
    "192.0.2.0",
    "192.0.2.63",
    "192.0.2.64",
    "192.0.2.128",
    "192.0.3.0",
    "255.255.255.255",
    "::",
    "fd00::",
    "fd00::8",
    "fd00:0:0:1::",
    "2001:db8::",
    "2001:db9::",
];
const NAMESPACES: &[&str] = &["ns0", "ns1", "ns2"];
const NODES: &[&str] = &["n0", "n1"];
/// Those of the second node; nobody knows those of the first.
const ADDRESSES: &[&str] = &["10.0.0.8", "192.0.2.1", "fd00::8"];
const PORT_NAMES: &[&str] = &["web", "dns"];

fn labels() -> impl Strategy<Value = Labels> {
    let pair = (select(vec!["app", "env"]), select(vec!["x", "y"]));
    vec(pair, 0..=2).prop_map(|pairs| pairs.into_iter().collect())
}

fn selector() -> impl Strategy<Value = Selector> {
    let values = || {
        vec(select(vec!["x", "y"]), 1..=2)
            .prop_map(|values| values.into_iter().map(Arc::from).collect::<Sorted<Arc<str>>>())
    };
    let operator = prop_oneof![
        4 => values().prop_map(Operator::In),
        2 => values().prop_map(Operator::NotIn),
        1 => Just(Operator::Exists),
        1 => Just(Operator::DoesNotExist),
    ];
    let requirement = (select(vec!["app", "env"]), operator)
        .prop_map(|(key, operator)| Requirement { key: key.into(), operator });
    vec(requirement, 0..=2).prop_map(|all| all.into_iter().collect())
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![3 => Just(Protocol::Tcp), 1 => Just(Protocol::Udp), 1 => Just(Protocol::Sctp)]
}

fn namespace(name: &str) -> NamespaceName {
    NamespaceName::new(name).unwrap()
}

fn pod() -> impl Strategy<Value = Pod> {
    let address = prop_oneof![
        2 => (1..=6u8).prop_map(|last| IpAddr::from([10, 0, 0, last])),
        1 => (1..=4u16).prop_map(|last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last])),
    ];
    let port = (select(PORT_NAMES), protocol(), select(PORTS))
        .prop_map(|(name, protocol, number)| NamedPort { name: PortName::new(name), protocol, number });
    let lifecycle = prop_oneof![
        18 => Just(Lifecycle::Live), 2 => Just(Lifecycle::Deleting), 1 => Just(Lifecycle::Finished)
    ];
    let key = (select(NAMESPACES), select(vec!["a", "b", "c", "d"]), weighted(0.9, select(NODES)));
    (key, labels(), vec(address, 0..=2), vec(port, 0..=2), lifecycle, prop::bool::weighted(0.05)).prop_map(
        |((namespace, name, node), labels, addresses, ports, lifecycle, is_of_host)| Pod {
            node: node.map(|node| NodeName::new(node).unwrap()),
            labels,
            network: match is_of_host {
                true => PodNetwork::Host,
                false => PodNetwork::own(addresses.into_iter().collect(), None),
            },
            lifecycle,
            ports: ports.into_iter().collect(),
            ..Pod::new(ObjectKey::new(namespace, name).unwrap())
        },
    )
}

fn peer() -> impl Strategy<Value = (Option<Selector>, Selector, Option<Index>)> {
    (weighted(0.5, selector()), selector(), weighted(0.3, any::<Index>()))
}

fn port() -> impl Strategy<Value = PortMatch> {
    let number = prop_oneof![
        3 => (protocol(), select(PORTS)).prop_map(|(protocol, port)| PortRange::single(protocol, port)),
        2 => (protocol(), select(PORTS), select(PORTS))
            .prop_map(|(protocol, a, b)| PortRange::new(protocol, a.min(b), a.max(b)).unwrap()),
        1 => protocol().prop_map(PortRange::all),
    ];
    let named = (protocol(), select(PORT_NAMES))
        .prop_map(|(protocol, name)| PortMatch::Named { protocol, name: PortName::new(name) });
    prop_oneof![3 => number.prop_map(PortMatch::Range), 1 => named]
}

fn policy() -> impl Strategy<Value = Policy> {
    let rule = || (weighted(0.8, vec(peer(), 0..=2)), weighted(0.7, vec(port(), 0..=2)));
    let rules = || weighted(0.6, vec(rule(), 0..=2));
    let key = (select(NAMESPACES), select(vec!["p", "q", "r"]));
    (key, selector(), rules(), rules(), prop::bool::weighted(0.05)).prop_map(
        |((own, name), pod_selector, ingress, egress, is_odd)| {
            let rules = |rules: Option<Vec<_>>| {
                let rules: Option<Vec<Rule>> =
                    rules.map(|rules| rules.into_iter().map(|it| rule_in(own, it)).collect());
                rules.map(Into::into)
            };
            let body = match is_odd {
                true => PolicyBody::NotUnderstood { types: Types::Both, faults: Vec::new() },
                false => {
                    PolicyBody::Understood(PolicyRules { ingress: rules(ingress), egress: rules(egress) })
                }
            };
            Policy::new(ObjectKey::new(own, name).unwrap(), pod_selector, body)
        },
    )
}

type RuleParts = (Option<Vec<(Option<Selector>, Selector, Option<Index>)>>, Option<Vec<PortMatch>>);

fn rule_in(own: &str, (peers, ports): RuleParts) -> Rule {
    let peer = |(namespaces, pods, block): (Option<Selector>, Selector, Option<Index>)| match block {
        Some(index) => {
            let (cidr, except) = index.get(BLOCKS);
            let except: Vec<_> = except.iter().map(|net| net.parse().unwrap()).collect();
            Peer::Block(IpBlock::new(cidr.parse().unwrap(), &except).unwrap())
        }
        None => {
            let own = NamespaceScope::Named(namespace(own));
            let namespaces = namespaces.map_or(own, NamespaceScope::Matching);
            Peer::Pods(PodPeer { namespaces, pods }.into())
        }
    };
    Rule {
        peers: peers.map_or(PeerMatch::Any, |peers| PeerMatch::OneOf(peers.into_iter().map(peer).collect())),
        ports: ports.map_or(RulePorts::Any, RulePorts::OneOf),
    }
}

/// A world, and what is proposed in it.
pub(crate) fn world_and_proposed() -> impl Strategy<Value = (World, Proposed)> {
    let labelled = || vec(weighted(0.9, labels()), NAMESPACES.len());
    let is_guarded = any::<bool>();
    let proposed =
        (vec(policy(), 0..=2), vec(any::<Index>(), 0..=1), weighted(0.3, (select(NAMESPACES), labels())));
    (labelled(), vec(pod(), 2..=8), vec(policy(), 0..=6), is_guarded, proposed).prop_map(
        |(labelled, pods, policies, is_guarded, (upserted, deleted, relabelled))| {
            let mut world = World::default();
            let node = |name: &&str| {
                let block = PodCidr::new("10.0.0.0/30".parse().unwrap()).unwrap();
                let pod_cidrs = [block].into_iter().filter(|_| is_guarded && *name == "n0").collect();
                let addresses = ADDRESSES.iter().filter(|_| *name == "n1");
                let addresses = addresses.map(|text| text.parse::<IpAddr>().unwrap()).collect();
                Node { pod_cidrs, addresses, ..Node::new(NodeName::new(name).unwrap()) }
            };
            let object = |name: &str, labels| Namespace::new(namespace(name), labels);
            let namespaces = NAMESPACES.iter().zip(labelled);
            let namespaces = namespaces.filter_map(|(name, labels)| Some(object(name, labels?)));
            world.apply(Change::Node(Edit::Replace(NODES.iter().map(node).collect())));
            world.apply(Change::Namespace(Edit::Replace(namespaces.collect())));
            world.apply(Change::Pod(Edit::Replace(unique(pods, |pod| &pod.key))));
            world.apply(Change::Policy(Edit::Replace(unique(policies, |policy| &policy.key))));
            let known: Vec<_> = world.policies().keys().cloned().collect();
            let deleted = deleted.into_iter().filter(|_| !known.is_empty());
            let deleted: Vec<_> = deleted.map(|index| index.get(&known).clone()).collect();
            let mut policies = unique(upserted, |policy| &policy.key);
            policies.retain(|policy| !deleted.contains(&policy.key));
            let namespaces = relabelled.into_iter().map(|(name, labels)| object(name, labels)).collect();
            (world, Proposed { policies, namespaces, deleted, ..Proposed::default() })
        },
    )
}

fn unique<T>(mut objects: Vec<T>, key: impl Fn(&T) -> &ObjectKey) -> Vec<T> {
    objects.sort_by(|a, b| key(a).cmp(key(b)));
    objects.dedup_by(|a, b| key(a) == key(b));
    objects
}
