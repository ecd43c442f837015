//! The cluster of the bench: nodes with a few pods each, and a policy in every namespace that names peers by one label.
//! A pod with that label, anywhere, changes the table of every node.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use flock_compiler::source::SourceEvent;
use flock_compiler_core::object::{
    Lifecycle, Namespace, NamespaceScope, Node, Peer, PeerMatch, Pod, PodNetwork, PodPeer, Policy,
    PolicyBody, PolicyRules, PortMatch, Rule, RulePorts,
};
use flock_compiler_core::port::{PortRange, Protocol};
use flock_compiler_core::{Change, Edit, Operator, Requirement, Selector};
use flock_shared::{NameError, NamespaceName, NodeName, PodKey, PolicyKey};

/// Namespaces, each with one policy; a node's pods are of different ones.
const NAMESPACES: usize = 500;

/// How large a cluster is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Nodes; each has an agent.
    pub(crate) nodes: usize,
    /// Pods on each node.
    pub(crate) pods: usize,
}

/// The name of a node.
pub(crate) fn node(number: usize) -> Result<NodeName, NameError> {
    NodeName::new(&format!("node-{number}"))
}

/// The whole cluster as a source's first listings.
pub(crate) fn listings(shape: Shape) -> Result<Vec<SourceEvent>, NameError> {
    let nodes: Result<Vec<_>, _> = (0..shape.nodes).map(|number| Ok(Node::new(node(number)?))).collect();
    let namespaces: Result<Vec<_>, _> = (0..NAMESPACES)
        .map(|number| {
            let name = NamespaceName::new(&format!("team-{number}"))?;
            Ok(Namespace::new(name, [("team", number.to_string())].into_iter().collect()))
        })
        .collect();
    let pods: Result<Vec<_>, _> =
        (0..shape.nodes * shape.pods).map(|number| pod(number, number / shape.pods, "web")).collect();
    let policies: Result<Vec<_>, _> = (0..NAMESPACES).map(policy).collect();
    Ok([
        Change::Node(Edit::Replace(nodes?)),
        Change::Namespace(Edit::Replace(namespaces?)),
        Change::Pod(Edit::Replace(pods?)),
        Change::Policy(Edit::Replace(policies?)),
        Change::NodePods(Edit::Replace(Vec::new())),
    ]
    .map(SourceEvent::from)
    .into())
}

/// One more pod that every policy names: it enters a set of every node's table.
pub(crate) fn reaching_all(shape: Shape, number: usize) -> Result<SourceEvent, NameError> {
    let pod = pod(shape.nodes * shape.pods + number, 0, "monitor")?;
    Ok(Change::Pod(Edit::Upsert(pod)).into())
}

fn pod(number: usize, on: usize, app: &'static str) -> Result<Pod, NameError> {
    let address =
        Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 1).to_bits() + u32::try_from(number).unwrap_or(0));
    Ok(Pod {
        key: PodKey::new(&format!("team-{}", number % NAMESPACES), &format!("{app}-{number}"))?,
        uid: None,
        node: Some(node(on)?),
        labels: [("app", app)].into_iter().collect(),
        network: PodNetwork::own([IpAddr::V4(address)].into(), None),
        lifecycle: Lifecycle::Live,
        ports: [].into(),
        scheduled: None,
        owner: Default::default(),
        faults: Vec::new(),
    })
}

/// Pods of the namespace may be reached by each other, and on one port by monitors of any namespace.
fn policy(number: usize) -> Result<Policy, NameError> {
    let namespace = format!("team-{number}");
    let peer = |namespaces, pods| PeerMatch::OneOf(vec![Peer::Pods(Arc::new(PodPeer { namespaces, pods }))]);
    let port = PortMatch::Range(PortRange::single(Protocol::Tcp, 9090));
    let own = Rule {
        peers: peer(NamespaceScope::Named(NamespaceName::new(&namespace)?), app("web")),
        ports: RulePorts::Any,
    };
    let monitors = Rule {
        peers: peer(NamespaceScope::Matching(Selector::everything()), app("monitor")),
        ports: RulePorts::OneOf(vec![port]),
    };
    Ok(Policy::new(
        PolicyKey::new(&namespace, "web")?,
        app("web"),
        PolicyBody::Understood(PolicyRules { ingress: Some([own, monitors].into()), egress: None }),
    ))
}

fn app(value: &str) -> Selector {
    let operator = Operator::In([value.into()].into());
    [Requirement { key: "app".into(), operator }].into_iter().collect()
}
