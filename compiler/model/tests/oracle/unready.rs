//! Addresses in a node's pod CIDRs that no known pod owns: a pod may have started there that nobody has seen yet.

use flock_model::oracle::cluster::{Cluster, Node, Phase, PolicySpec, Protocol::Tcp};
use flock_model::oracle::flow::{Flow, State};
use flock_model::oracle::{allowed, judge};

use super::build::{
    DB, OTHER, OUTSIDE, WEB, address, app, cluster, flow, icmp, ingress, net, pod, tcp, with_pod,
};

/// In the block of n0, and nobody's.
const NEW: &str = "10.0.0.9";
const BRIDGE: &str = "10.0.0.14";

/// n0 has 10.0.0.0/28, in which the known pods of both nodes are, and a bridge of its own; db is isolated.
fn guarded() -> Cluster {
    let mut cluster = cluster(vec![ingress(app("db"), vec![])]);
    let (pod_cidrs, own) = (vec![net("10.0.0.0/28"), net("fd00::/125")], vec![address(BRIDGE)]);
    cluster.nodes[0] = Node { pod_cidrs, own, ..Node::new("n0") };
    cluster
}

#[test]
fn nobody_reaches_an_unknown_address_and_it_reaches_nobody() {
    let cluster = guarded();
    for other in [WEB, OTHER, OUTSIDE, "10.0.0.8", NEW] {
        assert!(!tcp(&cluster, other, NEW, 80) && !tcp(&cluster, NEW, other, 80), "{other}");
    }
    assert!(!tcp(&cluster, "fd00::7", "fd00::8", 80) && !tcp(&cluster, "fd00::8", "fd00::7", 80));
    let first = flow(OUTSIDE, NEW, Tcp, 80);
    assert!(judge(&cluster, "n1", &first).passes(), "only the node with the block has a say");
    let judgement = judge(&cluster, "n0", &first);
    assert!(judgement.egress && !judgement.ingress);
}

#[test]
fn who_is_known_is_judged_by_the_policies() {
    let cluster = guarded();
    assert!(
        tcp(&cluster, WEB, OTHER, 80) && tcp(&cluster, OUTSIDE, WEB, 80) && tcp(&cluster, WEB, OUTSIDE, 80)
    );
    assert!(!tcp(&cluster, WEB, DB, 80));
    for node in ["n0", "n1"] {
        let known = with_pod(guarded(), pod("lab", "new", node, &[NEW]));
        assert!(tcp(&known, OUTSIDE, NEW, 80) && tcp(&known, NEW, OUTSIDE, 80), "on {node}");
    }
    let mut gone = with_pod(guarded(), pod("lab", "new", "n0", &[NEW]));
    gone.pods[3].deleting = true;
    assert!(tcp(&gone, OUTSIDE, NEW, 80), "it owns its address until it is gone");
    gone.pods[3].phase = Phase::Succeeded;
    assert!(!tcp(&gone, OUTSIDE, NEW, 80), "the next owner may be there already");
    gone.pods[3].phase = Phase::Running;
    gone.pods[3].host_network = true;
    assert!(!tcp(&gone, OUTSIDE, NEW, 80), "its addresses are the node's");
}

#[test]
fn without_a_policy_or_a_block_nobody_is_isolated() {
    let mut open = guarded();
    open.policies.clear();
    assert!(tcp(&open, OUTSIDE, NEW, 80));
    assert!(tcp(&cluster(vec![ingress(app("db"), vec![])]), OUTSIDE, NEW, 80));
    assert!(tcp(&guarded(), OUTSIDE, "10.0.0.16", 80) && tcp(&guarded(), "10.0.0.16", OUTSIDE, 80));
    let mut unread = guarded();
    unread.policies[0].spec = PolicySpec::NotUnderstood { types: vec![] };
    assert!(!tcp(&unread, OUTSIDE, NEW, 80), "one that is not understood is a policy");
}

#[test]
fn replies_errors_and_the_nodes_own_addresses_pass() {
    let cluster = guarded();
    let reply = Flow { state: State::Reply, ..flow(NEW, OUTSIDE, Tcp, 80) };
    let error = Flow { state: State::Related, ..icmp(OUTSIDE, NEW, 3, 64) };
    assert!(allowed(&cluster, &reply) && allowed(&cluster, &error));
    assert!(tcp(&cluster, BRIDGE, WEB, 80) && tcp(&cluster, WEB, BRIDGE, 80));
    assert!(!tcp(&cluster, BRIDGE, NEW, 80), "forwarded, the node's address opens nothing");
}
