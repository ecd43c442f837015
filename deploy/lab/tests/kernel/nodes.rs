//! Nodes and pods on the host's network: a node always reaches its own pods and they reach it; otherwise addresses
//! of nodes are judged as addresses.

use flock_lab::{Family, Node, Pod, Probe};

use crate::cluster::Cluster;
use crate::flow::SERVICES;
use crate::members::member;
use crate::objects::{Objects, PodDocument};
use crate::trials::{Trials, to_pod};

/// From a pod to both addresses of a node, over all usual services.
pub(crate) fn to_node(from: &Pod, to: &Node) -> Vec<Probe> {
    let each = |family| {
        let probe = move |&(protocol, port)| Probe::new(from, protocol, to.address(family), port);
        SERVICES.iter().map(probe)
    };
    [Family::V4, Family::V6].into_iter().flat_map(each).collect()
}

/// web on node-a, db on node-b; the nodes serve too.
fn cluster(tag: &str) -> Option<Cluster> {
    let cluster = Cluster::of(tag, &["web", "db", "teller"])?;
    for node in &cluster.nodes {
        node.serve(&SERVICES).unwrap();
    }
    Some(cluster)
}

#[test]
fn a_node_and_its_own_pods_always_reach_each_other() {
    let Some(cluster) = cluster("own-node") else {
        return;
    };
    let [a, b] = &cluster.nodes;
    let (web, db) = (cluster.pod("web"), cluster.pod("db"));
    for interfaces in ["none", "sha1:cali"] {
        let objects = Objects::of_all_members().host_interfaces(interfaces);
        cluster.enforce(&objects.with_default_deny());
        Trials::default()
            .reached("a node to its own pod", to_pod(a, web))
            .reached("a node to its own pod", to_pod(b, db))
            .reached("a pod to its own node", to_node(web, a))
            .reached("a pod to its own node", to_node(db, b))
            .dropped("a node to another node's pod", to_pod(a, db))
            .dropped("a node to another node's pod", to_pod(b, web))
            .dropped("a pod to another node", to_node(web, b))
            .dropped("a pod to another node", to_node(db, a))
            .dropped("between pods", to_pod(web, db))
            .check();
    }
}

#[test]
fn other_nodes_are_judged_by_address() {
    let Some(cluster) = cluster("other-node") else {
        return;
    };
    let [a, b] = &cluster.nodes;
    let (web, db) = (cluster.pod("web"), cluster.pod("db"));
    // node-b is 172.18.0.2 and fd00:18::2.
    let blocks = "[{ipBlock: {cidr: 172.18.0.2/32}}, {ipBlock: {cidr: \"fd00:18::/64\", except: [\"fd00:18::1/128\"]}}]";
    let objects = Objects::of_all_members().with_default_deny().with_policy(
        "shop",
        &format!(
            "{{podSelector: {{}}, policyTypes: [Ingress, Egress], \
             ingress: [{{from: {blocks}}}], egress: [{{to: {blocks}}}]}}"
        ),
    );
    cluster.enforce(&objects);
    Trials::default()
        .reached("a node whose address is in the block", to_pod(b, web))
        .reached("to a node whose address is in the block", to_node(web, b))
        .dropped("a node whose address is not", to_pod(a, db))
        .dropped("to a node whose address is not", to_node(db, a))
        .dropped("a pod of the node in the block", to_pod(db, web))
        .check();
}

#[test]
fn pods_on_the_host_network_are_their_node() {
    let Some(cluster) = cluster("host-network") else {
        return;
    };
    let [a, b] = &cluster.nodes;
    let (web, db, teller) = (cluster.pod("web"), cluster.pod("db"), cluster.pod("teller"));
    let monitor = PodDocument {
        name: "monitor".to_owned(),
        labels: "{app: monitor}".to_owned(),
        addresses: vec!["172.18.0.2".to_owned(), "fd00:18::2".to_owned()],
        spec: "hostNetwork: true, containers: [{name: main}]".to_owned(),
        ..PodDocument::of(member("db"))
    };
    let objects = Objects::of_all_members()
        .with(&monitor.text())
        .with_policy("shop", "{podSelector: {}, policyTypes: [Ingress, Egress]}")
        .with_policy(
            "shop",
            "{podSelector: {matchLabels: {app: web}}, \
             ingress: [{from: [{podSelector: {matchLabels: {app: monitor}}}]}], \
             egress: [{to: [{podSelector: {matchLabels: {app: monitor}}}]}]}",
        );
    cluster.enforce(&objects);
    Trials::default()
        .dropped("no selector peer matches it", to_pod(b, web))
        .dropped("no selector peer matches it", to_node(web, b))
        .reached("no policy selects it: out", to_pod(b, teller))
        .reached("no policy selects it: in", to_node(teller, b))
        .reached("its node still reaches its own pods", to_pod(b, db))
        .dropped("nor is anything else open", to_pod(a, db))
        .check();

    let by_address = objects.with_policy(
        "shop",
        "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 172.18.0.2/32}}, \
         {ipBlock: {cidr: \"fd00:18::2/128\"}}]}]}",
    );
    cluster.enforce(&by_address);
    Trials::default()
        .reached("its address counts", to_pod(b, web))
        .dropped("and only its own", to_pod(db, web))
        .check();
}
