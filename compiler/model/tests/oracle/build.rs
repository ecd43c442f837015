//! A shop with web and db, a lab with other, and short words to write policies and packets with.

use std::net::IpAddr;

use flock_model::oracle::allowed;
use flock_model::oracle::cluster::{
    Cluster, ContainerPort,
    Direction::{self, Egress, Ingress},
    Expression, Namespace, Net, Node, Operator, Peer, Phase, Pod, Policy, PolicySpec, Port, PortNumber,
    Protocol::{self, Tcp},
    Rule, Selector, Text,
};
use flock_model::oracle::flow::{Flow, Transport};

pub(super) const WEB: &str = "10.0.0.1";
pub(super) const DB: &str = "10.0.0.2";
pub(super) const OTHER: &str = "10.0.0.3";
pub(super) const OUTSIDE: &str = "192.0.2.1";

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn net(text: &str) -> Net {
    let (address, prefix) = text.split_once('/').unwrap();
    Net { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

pub(super) fn namespace(name: Text, labels: &[(Text, Text)]) -> Namespace {
    Namespace { name, labels: labels.iter().copied().collect() }
}

pub(super) fn pod(namespace: Text, name: Text, node: Text, addresses: &[&str]) -> Pod {
    Pod {
        namespace,
        name,
        node: Some(node),
        labels: [("app", name)].into(),
        host_network: false,
        deleting: false,
        phase: Phase::Running,
        addresses: addresses.iter().map(|text| address(text)).collect(),
        ports: Vec::new(),
        link: name,
        interface: None,
    }
}

/// web and db in namespace shop, other in namespace lab; web and other on n0, db on n1.
pub(super) fn cluster(policies: Vec<Policy>) -> Cluster {
    Cluster {
        nodes: vec![Node::new("n0"), Node::new("n1")],
        namespaces: vec![namespace("shop", &[("team", "shop")]), namespace("lab", &[("team", "lab")])],
        pods: vec![
            pod("shop", "web", "n0", &[WEB]),
            pod("shop", "db", "n1", &[DB]),
            pod("lab", "other", "n0", &[OTHER]),
        ],
        policies,
    }
}

pub(super) fn everything() -> Selector {
    Selector::default()
}

pub(super) fn app(name: Text) -> Selector {
    Selector { match_labels: [("app", name)].into(), match_expressions: Vec::new() }
}

pub(super) fn expression(key: Text, operator: Operator, values: &[Text]) -> Selector {
    let expression = Expression { key, operator, values: values.to_vec() };
    Selector { match_expressions: vec![expression], ..Selector::default() }
}

pub(super) fn policy(
    pod_selector: Selector,
    types: &[Direction],
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
) -> Policy {
    Policy {
        namespace: "shop",
        name: "policy",
        pod_selector,
        spec: PolicySpec::Understood { types: Some(types.to_vec()), ingress, egress },
    }
}

pub(super) fn ingress(pod_selector: Selector, rules: Vec<Rule>) -> Policy {
    policy(pod_selector, &[Ingress], Some(rules), None)
}

pub(super) fn egress(pod_selector: Selector, rules: Vec<Rule>) -> Policy {
    policy(pod_selector, &[Egress], None, Some(rules))
}

pub(super) fn rule(peers: Vec<Peer>, ports: Vec<Port>) -> Rule {
    Rule { peers: Some(peers), ports: Some(ports) }
}

pub(super) fn own(pods: Selector) -> Peer {
    Peer::Pods { pods: Some(pods), namespaces: None }
}

pub(super) fn of_namespaces(namespaces: Selector) -> Peer {
    Peer::Pods { pods: None, namespaces: Some(namespaces) }
}

pub(super) fn block(cidr: &str, except: &[&str]) -> Peer {
    Peer::Block { cidr: net(cidr), except: except.iter().map(|text| net(text)).collect() }
}

pub(super) fn port(protocol: Protocol, port: PortNumber) -> Port {
    Port { protocol, port }
}

pub(super) fn flow(source: &str, destination: &str, protocol: Protocol, number: u16) -> Flow {
    Flow::first(address(source), address(destination), Transport::Ports(protocol, 40000, number))
}

pub(super) fn icmp(source: &str, destination: &str, kind: u8, hop_limit: u8) -> Flow {
    Flow::first(address(source), address(destination), Transport::Icmp { kind, hop_limit })
}

pub(super) fn tcp(cluster: &Cluster, source: &str, destination: &str, number: u16) -> bool {
    allowed(cluster, &flow(source, destination, Tcp, number))
}

pub(super) fn labelled(mut cluster: Cluster, name: Text, key: Text, value: Text) -> Cluster {
    cluster.pods.iter_mut().find(|pod| pod.name == name).unwrap().labels.insert(key, value);
    cluster
}

pub(super) fn with_port(
    mut cluster: Cluster,
    pod: Text,
    name: Text,
    protocol: Protocol,
    number: u16,
) -> Cluster {
    let pod = cluster.pods.iter_mut().find(|candidate| candidate.name == pod).unwrap();
    pod.ports.push(ContainerPort { name, protocol, number });
    cluster
}

pub(super) fn with_pod(mut cluster: Cluster, pod: Pod) -> Cluster {
    cluster.pods.push(pod);
    cluster
}
