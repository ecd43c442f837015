//! What objects are put together from: names, labels, selectors, rules. For benches and tests: a name that the API
//! would refuse panics.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use flock_compiler_core::object::{
    Direction, IpBlock, Lifecycle, NamedPort, Namespace, NamespaceScope, Node, Peer, PeerMatch, Pod,
    PodNetwork, PodPeer, Policy, PolicyBody, PolicyRules, PortMatch, PortName, Rule, RulePorts,
};
use flock_compiler_core::port::{PortRange, Protocol};
use flock_compiler_core::{Labels, Operator, Requirement, Selector};
use flock_shared::{NamespaceName, NodeName, ObjectName, PolicyKey};
use ipnet::{IpNet, Ipv4Net};

/// A label's key and value.
pub type Pair = (Arc<str>, Arc<str>);

/// A node with a number.
#[allow(clippy::expect_used, reason = "the shapes' names are made of lower case letters, digits and '-'")]
pub fn node(number: usize) -> Node {
    Node::new(NodeName::new(&format!("node-{number}")).expect("a valid name"))
}

/// The name of a namespace; panics if it is none.
#[allow(clippy::expect_used, reason = "as above")]
pub fn namespace_name(name: &str) -> NamespaceName {
    NamespaceName::new(name).expect("a valid name")
}

/// The name of an object; panics if it is none.
#[allow(clippy::expect_used, reason = "as above")]
pub fn object_name(name: &str) -> ObjectName {
    ObjectName::new(name).expect("a valid name")
}

/// A namespace.
pub fn namespace(name: NamespaceName, labels: impl IntoIterator<Item = Pair>) -> Namespace {
    Namespace::new(name, labels.into_iter().collect())
}

/// The address of the pod with this number: counted up from 10.0.0.1.
pub fn address(number: usize) -> IpAddr {
    let first = u32::from(Ipv4Addr::new(10, 0, 0, 1));
    IpAddr::V4(Ipv4Addr::from(first.saturating_add(u32::try_from(number).unwrap_or(u32::MAX))))
}

/// A live pod with one address.
pub fn pod(
    namespace: &NamespaceName,
    name: &str,
    node: Option<&Node>,
    labels: Labels,
    address: IpAddr,
    ports: &[NamedPort],
) -> Pod {
    Pod {
        key: PolicyKey { namespace: namespace.clone(), name: object_name(name) },
        uid: None,
        node: node.map(|node| node.name.clone()),
        labels,
        network: PodNetwork::own([address].into_iter().collect(), None),
        lifecycle: Lifecycle::Live,
        ports: ports.iter().cloned().collect(),
        scheduled: None,
        owner: Default::default(),
        faults: Vec::new(),
    }
}

/// A named TCP port of a container.
pub fn named_port(name: &PortName, number: u16) -> NamedPort {
    NamedPort { name: name.clone(), protocol: Protocol::Tcp, number }
}

/// The selector that wants all these labels.
pub fn labelled<'a>(pairs: impl IntoIterator<Item = &'a Pair>) -> Selector {
    pairs.into_iter().map(|(key, value)| is_in(key, [value])).collect()
}

/// The label's value is one of these.
pub fn is_in<'a>(key: &Arc<str>, values: impl IntoIterator<Item = &'a Arc<str>>) -> Requirement {
    requirement(key, Operator::In(values.into_iter().cloned().collect()))
}

/// The label is missing, or its value is none of these.
pub fn is_not_in<'a>(key: &Arc<str>, values: impl IntoIterator<Item = &'a Arc<str>>) -> Requirement {
    requirement(key, Operator::NotIn(values.into_iter().cloned().collect()))
}

/// One condition of a selector.
pub fn requirement(key: &Arc<str>, operator: Operator) -> Requirement {
    Requirement { key: key.clone(), operator }
}

/// A policy; `None` where it does not isolate.
pub fn policy(
    namespace: &NamespaceName,
    name: &ObjectName,
    pod_selector: Selector,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
) -> Policy {
    let (ingress, egress) = (ingress.map(Into::into), egress.map(Into::into));
    let body = PolicyBody::Understood(PolicyRules { ingress, egress });
    Policy::new(PolicyKey { namespace: namespace.clone(), name: name.clone() }, pod_selector, body)
}

/// A copy of a policy with one more rule in a direction; unchanged where it does not isolate in it.
pub fn with_rule(policy: &Policy, direction: Direction, rule: Rule) -> Policy {
    let mut policy = policy.clone();
    if let PolicyBody::Understood(rules) = &mut policy.body {
        let list = match direction {
            Direction::Ingress => rules.ingress.as_mut(),
            Direction::Egress => rules.egress.as_mut(),
        };
        if let Some(list) = list {
            *list = list.iter().cloned().chain([rule]).collect();
        }
    }
    policy
}

/// A rule; no peers means any peer, no ports any port.
pub fn rule(peers: impl IntoIterator<Item = Peer>, ports: impl IntoIterator<Item = PortMatch>) -> Rule {
    let (peers, ports): (Vec<Peer>, Vec<PortMatch>) =
        (peers.into_iter().collect(), ports.into_iter().collect());
    Rule {
        peers: if peers.is_empty() { PeerMatch::Any } else { PeerMatch::OneOf(peers) },
        ports: if ports.is_empty() { RulePorts::Any } else { RulePorts::OneOf(ports) },
    }
}

/// Pods of one namespace.
pub fn pods_of(namespace: &NamespaceName, pods: Selector) -> Peer {
    Peer::Pods(PodPeer { namespaces: NamespaceScope::Named(namespace.clone()), pods }.into())
}

/// Pods of the namespaces that a selector selects.
pub fn pods_in(namespaces: Selector, pods: Selector) -> Peer {
    Peer::Pods(PodPeer { namespaces: NamespaceScope::Matching(namespaces), pods }.into())
}

/// A block of IPv4 addresses without others, each as address and prefix length.
#[allow(clippy::expect_used, reason = "the shapes' prefixes are at most 32 and their excepts within")]
pub fn block(cidr: ([u8; 4], u8), except: &[([u8; 4], u8)]) -> Peer {
    let net = |(address, length): ([u8; 4], u8)| {
        IpNet::V4(Ipv4Net::new(Ipv4Addr::from(address), length).expect("a valid prefix length"))
    };
    let except: Vec<IpNet> = except.iter().copied().map(net).collect();
    Peer::Block(IpBlock::new(net(cidr), &except).expect("excepts within the block"))
}

/// One TCP port.
pub const fn tcp(port: u16) -> PortMatch {
    PortMatch::Range(PortRange::single(Protocol::Tcp, port))
}

/// One UDP port.
pub const fn udp(port: u16) -> PortMatch {
    PortMatch::Range(PortRange::single(Protocol::Udp, port))
}

/// Some ports in a row; the first alone if the last is below it.
pub fn tcp_range(first: u16, last: u16) -> PortMatch {
    let single = PortRange::single(Protocol::Tcp, first);
    PortMatch::Range(PortRange::new(Protocol::Tcp, first, last).unwrap_or(single))
}

/// A TCP port by its name.
pub fn named(name: &PortName) -> PortMatch {
    PortMatch::Named { protocol: Protocol::Tcp, name: name.clone() }
}
