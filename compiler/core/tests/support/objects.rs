//! Objects of a small cluster. Node n1 has the pod CIDR 10.244.1.0/24, and so on. What a test does not say is as usual:
//! a pod is live, on no node and has no labels; a policy selects every pod of its namespace.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::sync::Arc;

use flock_compiler_core::object::{
    IpBlock, NamespaceScope, Node, Peer, PeerMatch, Pod, PodCidr, PodNetwork, PodPeer, Policy, PolicyBody,
    PolicyRules, PortMatch, Rule, RulePorts,
};
use flock_compiler_core::port::{PortRange, Protocol};
use flock_compiler_core::{Operator, Requirement, Selector};
use flock_shared::{NamespaceName, NodeName, PodKey, PolicyKey};

pub(crate) fn node_name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// The name of n1, and so on.
pub(crate) fn name(number: u8) -> NodeName {
    node_name(&format!("n{number}"))
}

pub(crate) fn node(number: u8) -> Node {
    let cidr = PodCidr::new(format!("10.244.{number}.0/24").parse().unwrap()).unwrap();
    Node { pod_cidrs: [cidr].into(), ..Node::new(name(number)) }
}

pub(crate) fn pod_key(namespace: &str, name: &str) -> PodKey {
    PodKey::new(namespace, name).unwrap()
}

pub(crate) fn pod(namespace: &str, name: &str, addresses: &[&str]) -> Pod {
    let addresses = addresses.iter().map(|at| at.parse().unwrap()).collect();
    Pod { network: PodNetwork::own(addresses, None), ..Pod::new(pod_key(namespace, name)) }
}

pub(crate) fn policy_key(namespace: &str, name: &str) -> PolicyKey {
    PolicyKey::new(namespace, name).unwrap()
}

/// A policy of the directions of which there are rules, be they none.
pub(crate) fn policy(
    namespace: &str,
    name: &str,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
) -> Policy {
    let rules = PolicyRules { ingress: ingress.map(Into::into), egress: egress.map(Into::into) };
    Policy::new(policy_key(namespace, name), Selector::everything(), PolicyBody::Understood(rules))
}

/// A policy of ingress alone.
pub(crate) fn ingress(namespace: &str, name: &str, rules: Vec<Rule>) -> Policy {
    policy(namespace, name, Some(rules), None)
}

/// A policy that allows nothing in either direction.
pub(crate) fn deny(namespace: &str) -> Policy {
    policy(namespace, "deny", Some(Vec::new()), Some(Vec::new()))
}

/// These peers, on these ports.
pub(crate) fn rule(peers: Vec<Peer>, ports: impl IntoIterator<Item = PortMatch>) -> Rule {
    Rule { peers: PeerMatch::OneOf(peers), ports: RulePorts::OneOf(ports.into_iter().collect()) }
}

/// These peers, on whatever port.
pub(crate) fn on_any_port(peers: Vec<Peer>) -> Rule {
    Rule { peers: PeerMatch::OneOf(peers), ports: RulePorts::Any }
}

pub(crate) fn ports(protocol: Protocol, first: u16, last: u16) -> PortMatch {
    PortMatch::Range(PortRange::new(protocol, first, last).unwrap())
}

pub(crate) fn tcp(first: u16, last: u16) -> PortMatch {
    ports(Protocol::Tcp, first, last)
}

pub(crate) fn block(cidr: &str) -> Peer {
    Peer::Block(IpBlock::new(cidr.parse().unwrap(), &[]).unwrap())
}

/// Pods of one namespace.
pub(crate) fn pods_in(namespace: &str, pods: Selector) -> Peer {
    let namespaces = NamespaceScope::Named(NamespaceName::new(namespace).unwrap());
    Peer::Pods(Arc::new(PodPeer { namespaces, pods }))
}

/// Pods of all namespaces.
pub(crate) fn pods_anywhere(pods: Selector) -> Peer {
    let namespaces = NamespaceScope::Matching(Selector::everything());
    Peer::Pods(Arc::new(PodPeer { namespaces, pods }))
}

pub(crate) fn requirement(key: &str, operator: Operator) -> Selector {
    [Requirement { key: key.into(), operator }].into_iter().collect()
}

/// A label has this value.
pub(crate) fn is(key: &str, value: &str) -> Selector {
    requirement(key, Operator::In([Arc::from(value)].into_iter().collect()))
}

/// A label has another value, or none.
pub(crate) fn is_not(key: &str, value: &str) -> Selector {
    requirement(key, Operator::NotIn([Arc::from(value)].into_iter().collect()))
}
