//! Cluster objects.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use flock_compiler::source::SourceEvent;
use flock_compiler_core::object::{
    Lifecycle, Namespace, NamespaceScope, Node, Peer, PeerMatch, Pod, PodNetwork, PodPeer, PodUid, Policy,
    PolicyBody, PolicyRules, Rule, RulePorts,
};
use flock_compiler_core::{Change, Edit, Selector};
use flock_shared::{NamespaceName, NodeName, PodKey, PolicyKey};

pub(super) const NAMESPACE: &str = "default";

pub(super) fn node_name(number: usize) -> NodeName {
    NodeName::new(&format!("node-{number}")).unwrap()
}

/// So many nodes with a pod each, and more pods elsewhere; they all accept one another.
pub(super) fn cluster(nodes: usize, elsewhere: usize) -> Vec<SourceEvent> {
    let namespace = NamespaceName::new(NAMESPACE).unwrap();
    let peer = PodPeer { namespaces: NamespaceScope::Named(namespace.clone()), pods: Selector::everything() };
    let rule = Rule { peers: PeerMatch::OneOf(vec![Peer::Pods(Arc::new(peer))]), ports: RulePorts::Any };
    let policy = Policy::new(
        PolicyKey::new(NAMESPACE, "own").unwrap(),
        Selector::everything(),
        PolicyBody::Understood(PolicyRules { ingress: Some([rule].into()), egress: None }),
    );
    let nodes_listed = (0..nodes).map(|number| Node::new(node_name(number))).collect();
    let namespaces = vec![Namespace::new(namespace, Default::default())];
    [
        Change::Node(Edit::Replace(nodes_listed)),
        Change::Namespace(Edit::Replace(namespaces)),
        Change::Pod(Edit::Replace(
            (0..nodes + elsewhere).map(|number| pod(number, number.min(nodes))).collect(),
        )),
        Change::Policy(Edit::Replace(vec![policy])),
        Change::NodePods(Edit::Replace(Vec::new())),
    ]
    .map(SourceEvent::from)
    .into()
}

/// A pod; every pod changes the table of every node.
pub(super) fn pod(number: usize, on: usize) -> Pod {
    let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 1).to_bits() + u32::try_from(number).unwrap());
    Pod {
        key: PodKey::new(NAMESPACE, &format!("pod-{number}")).unwrap(),
        uid: PodUid::new(&format!("uid-{number}")).ok(),
        node: Some(node_name(on)),
        labels: [("", ""); 0].into_iter().collect(),
        network: PodNetwork::own([IpAddr::V4(address)].into(), None),
        lifecycle: Lifecycle::Live,
        ports: [].into(),
        scheduled: None,
        owner: Default::default(),
        faults: Vec::new(),
    }
}
