//! A cluster as the API writes it: absent and empty are told apart, blocks are an address and a prefix length.
//!
//! Deliberately not the core's types: the oracle reads these, so that no parsing, canonicalising or subtracting
//! of the core stands between it and what a user wrote.

#![allow(missing_docs, reason = "fields and variants are named as the API names them")]

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Names, label keys and label values all come from small fixed pools.
pub type Text = &'static str;

/// `metadata.labels`.
pub type Labels = BTreeMap<Text, Text>;

/// All objects that have a say in a packet.
#[derive(Clone, Default)]
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub namespaces: Vec<Namespace>,
    pub pods: Vec<Pod>,
    pub policies: Vec<Policy>,
}

/// A Node.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub name: Text,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<Net>,
    /// Addresses of the node itself that lie in its pod CIDRs, such as a bridge's; the compiler is not told of them.
    pub own: Vec<IpAddr>,
}

/// A Namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Namespace {
    pub name: Text,
    pub labels: Labels,
}

/// A Pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    pub namespace: Text,
    pub name: Text,
    /// `spec.nodeName`.
    pub node: Option<Text>,
    pub labels: Labels,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// `status.phase`.
    pub phase: Phase,
    /// `status.podIPs`; a host-network pod shows its node's.
    pub addresses: Vec<IpAddr>,
    /// The named ports of its containers and sidecars.
    pub ports: Vec<ContainerPort>,
    /// The host's end of its link as it really is, known or not.
    pub link: Text,
    /// What the compiler is told of it.
    pub interface: Option<Interface>,
}

/// The host's end of a pod's link, as the compiler is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    pub name: Text,
    /// Read from an annotation, and not computed from the pod's name: may be a lie.
    pub claimed: bool,
}

/// `status.phase` of a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Running,
    Pending,
    Succeeded,
    Failed,
}

/// `protocol` of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// A named port of a container.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerPort {
    pub name: Text,
    pub protocol: Protocol,
    pub number: u16,
}

/// A NetworkPolicy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub namespace: Text,
    pub name: Text,
    pub pod_selector: Selector,
    pub spec: PolicySpec,
}

/// `spec` of a NetworkPolicy, without its `podSelector`.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicySpec {
    Understood {
        /// `policyTypes`; `None` and empty mean the same.
        types: Option<Vec<Direction>>,
        ingress: Option<Vec<Rule>>,
        egress: Option<Vec<Rule>>,
    },
    /// Some field was not understood; the policy isolates in these directions.
    NotUnderstood { types: Vec<Direction> },
}

/// A direction, as seen by the pod that a policy selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ingress,
    Egress,
}

/// An entry of `ingress` or `egress`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// `from` or `to`; `None` and empty mean the same.
    pub peers: Option<Vec<Peer>>,
    /// `ports`; `None` and empty mean the same.
    pub ports: Option<Vec<Port>>,
}

/// An entry of `from` or `to`.
#[derive(Debug, Clone, PartialEq)]
pub enum Peer {
    /// `podSelector` and `namespaceSelector`; at least one of them is there.
    Pods { pods: Option<Selector>, namespaces: Option<Selector> },
    /// `ipBlock`.
    Block { cidr: Net, except: Vec<Net> },
}

/// An address and a prefix length; bits beyond the prefix may be set and mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net {
    pub address: IpAddr,
    pub prefix: u8,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    pub protocol: Protocol,
    pub port: PortNumber,
}

#[derive(Debug, Clone, PartialEq)]
pub enum PortNumber {
    /// No `port`: every port of the protocol.
    All,
    Number(u16),
    /// `port` and `endPort`.
    Range(u16, u16),
    Name(Text),
}

/// Requirements that must all hold; none at all selects everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selector {
    pub match_labels: Labels,
    pub match_expressions: Vec<Expression>,
}

/// An entry of `matchExpressions`.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    pub key: Text,
    pub operator: Operator,
    /// Empty for Exists and DoesNotExist.
    pub values: Vec<Text>,
}

/// `operator` of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Node {
    /// A node without pod CIDRs.
    #[must_use]
    pub const fn new(name: Text) -> Self {
        Self { name, pod_cidrs: Vec::new(), own: Vec::new() }
    }
}

impl Pod {
    /// Returns true if the compiler is told the pod's true link.
    #[must_use]
    pub fn link_is_known(&self) -> bool {
        self.interface.is_some_and(|interface| interface.name == self.link)
    }
}

impl Cluster {
    /// Returns true if an address is one of the node's own.
    #[must_use]
    pub fn is_own(&self, node: &str, address: IpAddr) -> bool {
        self.nodes.iter().any(|candidate| candidate.name == node && candidate.own.contains(&address))
    }

    /// Every node that has an object or a pod, each once.
    #[must_use]
    pub fn node_names(&self) -> Vec<Text> {
        let mut names: Vec<Text> = self.nodes.iter().map(|node| node.name).collect();
        names.extend(self.pods.iter().filter_map(|pod| pod.node));
        names.sort_unstable();
        names.dedup();
        names
    }
}
