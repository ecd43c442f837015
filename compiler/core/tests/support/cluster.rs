//! A cluster as the API writes it: absent and empty are told apart, blocks are an address and a prefix length.
//!
//! Deliberately not the core's types: the evaluator reads these, so that no parsing, canonicalising or subtracting
//! of the core stands between it and what a user wrote.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Names, label keys and label values all come from small fixed pools.
pub(crate) type Text = &'static str;

pub(crate) type Labels = BTreeMap<Text, Text>;

#[derive(Clone, Default)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) policies: Vec<Policy>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) name: Text,
    /// `spec.podCIDRs`.
    pub(crate) pod_cidrs: Vec<Net>,
    /// Addresses of the node itself that lie in its pod CIDRs, such as a bridge's; the compiler is not told of them.
    pub(crate) own: Vec<IpAddr>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Namespace {
    pub(crate) name: Text,
    pub(crate) labels: Labels,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pod {
    pub(crate) namespace: Text,
    pub(crate) name: Text,
    /// `spec.nodeName`.
    pub(crate) node: Option<Text>,
    pub(crate) labels: Labels,
    /// `spec.hostNetwork`.
    pub(crate) host_network: bool,
    /// Whether `metadata.deletionTimestamp` is set.
    pub(crate) deleting: bool,
    /// `status.phase`.
    pub(crate) phase: Phase,
    /// `status.podIPs`; a host-network pod shows its node's.
    pub(crate) addresses: Vec<IpAddr>,
    /// The named ports of its containers and sidecars.
    pub(crate) ports: Vec<ContainerPort>,
    /// The host's end of its link as it really is, known or not.
    pub(crate) link: Text,
    /// What the compiler is told of it.
    pub(crate) interface: Option<Interface>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: Text,
    /// Read from an annotation, and not computed from the pod's name: may be a lie.
    pub(crate) claimed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    Pending,
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ContainerPort {
    pub(crate) name: Text,
    pub(crate) protocol: Protocol,
    pub(crate) number: u16,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Policy {
    pub(crate) namespace: Text,
    pub(crate) name: Text,
    pub(crate) pod_selector: Selector,
    pub(crate) spec: PolicySpec,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PolicySpec {
    Understood {
        /// `policyTypes`; `None` and empty mean the same.
        types: Option<Vec<Direction>>,
        ingress: Option<Vec<Rule>>,
        egress: Option<Vec<Rule>>,
    },
    /// Some field was not understood; the policy isolates in these directions.
    NotUnderstood { types: Vec<Direction> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Ingress,
    Egress,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    /// `from` or `to`; `None` and empty mean the same.
    pub(crate) peers: Option<Vec<Peer>>,
    /// `ports`; `None` and empty mean the same.
    pub(crate) ports: Option<Vec<Port>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Peer {
    /// `podSelector` and `namespaceSelector`; at least one of them is there.
    Pods { pods: Option<Selector>, namespaces: Option<Selector> },
    /// `ipBlock`.
    Block { cidr: Net, except: Vec<Net> },
}

/// An address and a prefix length; bits beyond the prefix may be set and mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Net {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Port {
    pub(crate) protocol: Protocol,
    pub(crate) port: PortNumber,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PortNumber {
    /// No `port`: every port of the protocol.
    All,
    Number(u16),
    /// `port` and `endPort`.
    Range(u16, u16),
    Name(Text),
}

/// Requirements that must all hold; none at all selects everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Selector {
    pub(crate) match_labels: Labels,
    pub(crate) match_expressions: Vec<Expression>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expression {
    pub(crate) key: Text,
    pub(crate) operator: Operator,
    /// Empty for Exists and DoesNotExist.
    pub(crate) values: Vec<Text>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Node {
    /// A node without pod CIDRs.
    pub(crate) const fn new(name: Text) -> Self {
        Self { name, pod_cidrs: Vec::new(), own: Vec::new() }
    }
}

impl Pod {
    /// Whether the compiler is told the pod's true link.
    pub(crate) fn link_is_known(&self) -> bool {
        self.interface.is_some_and(|interface| interface.name == self.link)
    }
}

impl Cluster {
    /// Whether an address is one of the node's own.
    pub(crate) fn is_own(&self, node: &str, address: IpAddr) -> bool {
        self.nodes.iter().any(|candidate| candidate.name == node && candidate.own.contains(&address))
    }

    /// Every node that has an object or a pod, each once.
    pub(crate) fn node_names(&self) -> Vec<Text> {
        let mut names: Vec<Text> = self.nodes.iter().map(|node| node.name).collect();
        names.extend(self.pods.iter().filter_map(|pod| pod.node));
        names.sort_unstable();
        names.dedup();
        names
    }
}
