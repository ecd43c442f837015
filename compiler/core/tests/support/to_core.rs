//! From the API's shape to the core's objects, field by field: what the sources do with JSON.

use std::sync::Arc;

use flock_compiler_core::object::{
    self, Bridge, BridgeNf, Facts, Fault, HostInterface, IpBlock, Lifecycle, NamedPort, NamespaceScope, Node,
    PeerMatch, PodCidr, PodNetwork, PodPeer, PolicyBody, PolicyRules, PortMatch, PortName, RulePorts, Types,
};
use flock_compiler_core::port::{PortRange, Protocol as CoreProtocol};
use flock_compiler_core::{
    Change, Edit, Operator as CoreOperator, Requirement, Selector as CoreSelector, World,
};
use flock_shared::{NamespaceName, NodeName, ObjectKey};
use ipnet::IpNet;

use flock_model::oracle::cluster::{
    self, Cluster, Direction, Namespace, Net, Operator, Peer, Phase, Pod, Policy, PolicySpec, Port,
    PortNumber, Protocol, Rule, Selector, Text,
};

/// The cluster as the core knows it after every kind has been listed once.
pub(crate) fn world(cluster: &Cluster) -> World {
    let mut world = World::default();
    for change in listings(cluster) {
        world.apply(change);
    }
    world
}

/// One listing of every kind.
pub(crate) fn listings(cluster: &Cluster) -> [Change; 5] {
    [
        Change::Node(Edit::Replace(cluster.nodes.iter().map(node).collect())),
        Change::Namespace(Edit::Replace(cluster.namespaces.iter().map(namespace).collect())),
        Change::Pod(Edit::Replace(cluster.pods.iter().map(pod).collect())),
        Change::Policy(Edit::Replace(cluster.policies.iter().map(policy).collect())),
        Change::NodePods(Edit::Replace(Vec::new())),
    ]
}

pub(crate) fn node(node: &cluster::Node) -> Node {
    let pod_cidrs = node.pod_cidrs.iter().map(|cidr| PodCidr::new(net(cidr)).unwrap());
    // Its own addresses are other ones whenever it is another node.
    let addresses =
        (0..node.name.len() as u8).map(|n| [172, 18, n, node.pod_cidrs.len() as u8].into()).collect();
    Node { pod_cidrs: pod_cidrs.collect(), addresses, ..Node::new(node_name(node.name)) }
}

/// What the agent of a node may say: a bridge in one of these blocks, or none, and ways past the rules.
pub(crate) fn facts(name: &str, blocks: &[Net], number: usize) -> Facts {
    let bridge = |(index, block): (usize, &Net)| Bridge {
        name: format!("br{index}").parse().unwrap(),
        addresses: vec![net(block)],
        links: [format!("veth{index}")].iter().map(|name| name.parse().unwrap()).collect(),
        uplinks: [format!("eth{number}")].iter().map(|name| name.parse().unwrap()).collect(),
    };
    let bridge_nf_v4 = if number.is_multiple_of(2) { BridgeNf::On } else { BridgeNf::Off };
    Facts {
        bridges: blocks.iter().take(number % 4).enumerate().map(bridge).collect(),
        bridge_nf_v4,
        bridge_nf_v6: BridgeNf::On,
        tunnel_ports: [4789].into_iter().filter(|_| number.is_multiple_of(3)).collect(),
        ipvs: number.is_multiple_of(5),
        accept_source_route: number.is_multiple_of(7),
        grammar: if number.is_multiple_of(4) { 1 } else { 2 },
        ..Facts::nothing_of(node_name(name))
    }
}

pub(crate) fn node_name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey::new(namespace, name).unwrap()
}

pub(crate) fn namespace(namespace: &Namespace) -> object::Namespace {
    let labels = namespace.labels.iter().map(|(key, value)| (*key, *value));
    object::Namespace::new(NamespaceName::new(namespace.name).unwrap(), labels.collect())
}

pub(crate) fn pod(pod: &Pod) -> object::Pod {
    let lifecycle = match pod.phase {
        Phase::Succeeded | Phase::Failed => Lifecycle::Finished,
        Phase::Running | Phase::Pending if pod.deleting => Lifecycle::Deleting,
        Phase::Running | Phase::Pending => Lifecycle::Live,
    };
    let network = if pod.host_network {
        PodNetwork::Host
    } else {
        let interface = pod.interface.map(|interface| {
            let name = interface.name.parse().unwrap();
            if interface.claimed { HostInterface::Claimed(name) } else { HostInterface::Computed(name) }
        });
        PodNetwork::own(pod.addresses.iter().copied().collect(), interface)
    };
    object::Pod {
        key: key(pod.namespace, pod.name),
        uid: None,
        node: pod.node.map(node_name),
        labels: pod.labels.iter().map(|(key, value)| (*key, *value)).collect(),
        network,
        lifecycle,
        ports: pod
            .ports
            .iter()
            .map(|port| NamedPort {
                name: PortName::new(port.name),
                protocol: protocol(port.protocol),
                number: port.number,
            })
            .collect(),
        scheduled: None,
        owner: Default::default(),
        faults: Vec::new(),
    }
}

pub(crate) const fn protocol(protocol: Protocol) -> CoreProtocol {
    match protocol {
        Protocol::Tcp => CoreProtocol::Tcp,
        Protocol::Udp => CoreProtocol::Udp,
        Protocol::Sctp => CoreProtocol::Sctp,
    }
}

pub(crate) fn policy(policy: &Policy) -> object::Policy {
    let body = match &policy.spec {
        PolicySpec::NotUnderstood { types } => PolicyBody::NotUnderstood {
            types: if types.contains(&Direction::Ingress) && types.contains(&Direction::Egress) {
                Types::Both
            } else if types.contains(&Direction::Ingress) {
                Types::Ingress
            } else {
                Types::Egress
            },
            faults: vec![Fault {
                origin: Arc::from("test"),
                field: "spec".to_owned(),
                message: "not understood".to_owned(),
            }],
        },
        PolicySpec::Understood { types, ingress, egress } => {
            let rules = |direction, rules: &Option<Vec<Rule>>| {
                let given = types.as_deref().unwrap_or_default();
                let isolates = match direction {
                    _ if !given.is_empty() => given.contains(&direction),
                    Direction::Ingress => true,
                    Direction::Egress => egress.as_ref().is_some_and(|rules| !rules.is_empty()),
                };
                isolates.then(|| rules.iter().flatten().map(|one| rule(policy.namespace, one)).collect())
            };
            PolicyBody::Understood(PolicyRules {
                ingress: rules(Direction::Ingress, ingress),
                egress: rules(Direction::Egress, egress),
            })
        }
    };
    object::Policy::new(key(policy.namespace, policy.name), selector(&policy.pod_selector), body)
}

fn rule(own_namespace: Text, rule: &Rule) -> object::Rule {
    object::Rule {
        peers: match rule.peers.as_deref() {
            None | Some([]) => PeerMatch::Any,
            Some(peers) => PeerMatch::OneOf(peers.iter().map(|one| peer(own_namespace, one)).collect()),
        },
        ports: match rule.ports.as_deref() {
            None | Some([]) => RulePorts::Any,
            Some(ports) => RulePorts::OneOf(ports.iter().map(port).collect()),
        },
    }
}

fn peer(own_namespace: Text, peer: &Peer) -> object::Peer {
    match peer {
        Peer::Pods { pods, namespaces } => object::Peer::Pods(Arc::new(PodPeer {
            namespaces: match namespaces {
                None => NamespaceScope::Named(NamespaceName::new(own_namespace).unwrap()),
                Some(namespaces) => NamespaceScope::Matching(selector(namespaces)),
            },
            pods: pods.as_ref().map_or_else(CoreSelector::everything, selector),
        })),
        Peer::Block { cidr, except } => {
            let except: Vec<IpNet> = except.iter().map(net).collect();
            object::Peer::Block(IpBlock::new(net(cidr), &except).unwrap())
        }
    }
}

fn net(net: &Net) -> IpNet {
    IpNet::new(net.address, net.prefix).unwrap()
}

fn port(port: &Port) -> PortMatch {
    let protocol = protocol(port.protocol);
    match port.port {
        PortNumber::All => PortMatch::Range(PortRange::all(protocol)),
        PortNumber::Number(number) => PortMatch::Range(PortRange::single(protocol, number)),
        PortNumber::Range(first, last) => PortMatch::Range(PortRange::new(protocol, first, last).unwrap()),
        PortNumber::Name(name) => PortMatch::Named { protocol, name: PortName::new(name) },
    }
}

fn selector(selector: &Selector) -> CoreSelector {
    let pairs = selector.match_labels.iter().map(|(key, value)| Requirement {
        key: Arc::from(*key),
        operator: CoreOperator::In([Arc::from(*value)].into()),
    });
    let expressions = selector.match_expressions.iter().map(|expression| {
        let values = || expression.values.iter().map(|value| Arc::from(*value)).collect();
        Requirement {
            key: Arc::from(expression.key),
            operator: match expression.operator {
                Operator::In => CoreOperator::In(values()),
                Operator::NotIn => CoreOperator::NotIn(values()),
                Operator::Exists => CoreOperator::Exists,
                Operator::DoesNotExist => CoreOperator::DoesNotExist,
            },
        }
    });
    pairs.chain(expressions).collect()
}
