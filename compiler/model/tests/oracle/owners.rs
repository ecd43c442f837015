//! Which pods an address belongs to: host-network, finished and deleting pods, contested addresses, the pod itself.

use flock_model::oracle::cluster::{
    ContainerPort,
    Direction::{Egress, Ingress},
    Phase, PortNumber,
    Protocol::Tcp,
};

use super::build::{
    DB, OTHER, OUTSIDE, WEB, address, app, block, cluster, egress, everything, ingress, of_namespaces, own,
    pod, policy, port, rule, tcp, with_pod,
};

#[test]
fn host_network_pods_are_addresses_only() {
    let node = "10.0.0.9";
    let mut host = pod("shop", "host", "n0", &[node]);
    host.host_network = true;
    host.ports.push(ContainerPort { name: "http", protocol: Tcp, number: 80 });
    let selectors = vec![own(everything()), of_namespaces(everything())];
    let denied = with_pod(cluster(vec![ingress(everything(), vec![rule(selectors, vec![])])]), host.clone());
    assert!(tcp(&denied, WEB, node, 80), "no policy applies to it");
    assert!(!tcp(&denied, node, WEB, 80), "no selector matches it");
    let by_block = cluster(vec![ingress(everything(), vec![rule(vec![block("10.0.0.9/32", &[])], vec![])])]);
    assert!(tcp(&with_pod(by_block, host.clone()), node, WEB, 80));
    let named = egress(app("web"), vec![rule(vec![], vec![port(Tcp, PortNumber::Name("http"))])]);
    assert!(!tcp(&with_pod(cluster(vec![named]), host), WEB, node, 80), "it has no named ports");
}

#[test]
fn finished_pods_own_nothing_and_deleting_ones_yield() {
    let policies = || vec![ingress(app("web"), vec![])];
    for phase in [Phase::Succeeded, Phase::Failed] {
        let mut cluster = cluster(policies());
        cluster.pods[0].phase = phase;
        assert!(tcp(&cluster, OUTSIDE, WEB, 80));
        let reused = with_pod(cluster, pod("lab", "web", "n0", &[WEB]));
        assert!(tcp(&reused, OUTSIDE, WEB, 80), "the policy is not of that namespace");
    }
    let mut deleting = cluster(policies());
    deleting.pods[0].deleting = true;
    assert!(!tcp(&deleting, OUTSIDE, WEB, 80), "it owns the address as long as nobody else does");
    assert!(tcp(&with_pod(deleting, pod("lab", "new", "n0", &[WEB])), OUTSIDE, WEB, 80));
}

#[test]
fn a_contested_address_passes_only_what_passes_for_every_owner() {
    let from = |cidr| vec![rule(vec![block(cidr, &[])], vec![])];
    let closed = ingress(app("web"), from("10.0.0.2/32"));
    let contested = with_pod(cluster(vec![closed]), pod("lab", "twin", "n0", &[WEB]));
    assert!(tcp(&contested, DB, WEB, 80) && !tcp(&contested, OTHER, WEB, 80));
    let to_web = ingress(app("db"), vec![rule(vec![own(app("web"))], vec![])]);
    assert!(tcp(&cluster(vec![to_web.clone()]), WEB, DB, 80));
    let as_peer = with_pod(cluster(vec![to_web]), pod("lab", "twin", "n0", &[WEB]));
    assert!(!tcp(&as_peer, WEB, DB, 80), "as a peer, too, every owner must match");

    let mut all_deleting =
        with_pod(cluster(vec![ingress(app("web"), vec![])]), pod("lab", "twin", "n0", &[WEB]));
    all_deleting.pods.iter_mut().for_each(|pod| pod.deleting = true);
    assert!(!tcp(&all_deleting, DB, WEB, 80), "then all of them own it");
}

#[test]
fn several_addresses_are_all_guarded() {
    let mut cluster = cluster(vec![ingress(app("web"), vec![])]);
    cluster.pods[0].addresses.extend([address("10.0.0.4"), address("fd00::4")]);
    assert!(!tcp(&cluster, DB, "10.0.0.4", 80) && !tcp(&cluster, "fd00::9", "fd00::4", 80));
}

#[test]
fn a_pod_reaches_itself_unless_another_has_its_address() {
    let second = "10.0.0.4";
    let mut cluster = cluster(vec![policy(everything(), &[Ingress, Egress], None, None)]);
    cluster.pods[0].addresses.push(address(second));
    assert!(tcp(&cluster, WEB, WEB, 80) && tcp(&cluster, WEB, second, 80));
    let contested = with_pod(cluster, pod("lab", "twin", "n1", &[second]));
    assert!(!tcp(&contested, WEB, second, 80));
    assert!(tcp(&contested, second, second, 80));
}
