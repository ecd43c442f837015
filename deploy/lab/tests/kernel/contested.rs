//! An address that two live pods own: a flow passes only if it would pass for both.

use flock_compiler_core::Consequence;
use flock_lab::Protocol::{Sctp, Tcp, Udp};

use crate::cluster::Cluster;
use crate::flow::SERVICES;
use crate::members::member;
use crate::objects::{Objects, PodDocument};

/// The members, and `twin` in bank, which claims web's addresses. It calls another port `http`.
fn objects(node: &str) -> Objects {
    let twin = PodDocument {
        namespace: "bank".to_owned(),
        name: "twin".to_owned(),
        node: node.to_owned(),
        labels: "{app: twin}".to_owned(),
        spec: "containers: [{name: main, ports: [{name: http, containerPort: 8080}, \
               {name: both, containerPort: 80, protocol: SCTP}]}]"
            .to_owned(),
        ..PodDocument::of(member("web"))
    };
    Objects::of_all_members().with(&twin.text())
}

#[test]
fn as_a_subject_both_owners_must_allow() {
    let Some(cluster) = Cluster::of_all_members("contested-subject") else {
        return;
    };
    for node in ["node-a", "node-b"] {
        let objects = objects(node)
            .with_policy(
                "shop",
                "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress], \
                 ingress: [{from: [{podSelector: {}}], ports: [{port: 80}, {port: 80, protocol: UDP}]}], \
                 egress: [{to: [{podSelector: {}}]}]}",
            )
            .with_policy(
                "bank",
                "{podSelector: {matchLabels: {app: twin}}, policyTypes: [Ingress, Egress], \
                 ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 80, endPort: 9000}]}], \
                 egress: [{to: [{namespaceSelector: {}}], ports: [{port: http}, {protocol: SCTP}]}]}",
            );
        cluster.enforce(&objects);
        let wrong = cluster.wrong(&SERVICES, |flow| {
            if flow.is_to(&["web"]) {
                // shop's pods by web's policy, TCP by both.
                flow.from.namespace == "shop" && flow.at(Tcp, 80)
            } else if flow.is_from(&["web"]) {
                let http = flow.is_to(&["api", "cache"]) && flow.at(Tcp, 8080);
                flow.to.namespace == "shop" && (http || flow.protocol == Sctp)
            } else {
                true
            }
        });
        assert_eq!(wrong, Vec::<String>::new(), "twin on {node}");
    }
}

#[test]
fn one_isolated_owner_is_enough_to_guard_it() {
    let Some(cluster) = Cluster::of_all_members("contested-one") else {
        return;
    };
    let objects = objects("node-a")
        .with_policy("bank", "{podSelector: {matchLabels: {app: twin}}, policyTypes: [Ingress]}");
    cluster.enforce(&objects);
    let wrong = cluster.wrong(&SERVICES, |flow| !flow.is_to(&["web"]));
    assert_eq!(wrong, Vec::<String>::new());
    let problems = objects.translation().problems().to_vec();
    let reported = problems.iter().filter(|problem| problem.consequence == Consequence::AllOwnersMustAllow);
    assert_eq!(reported.count(), 4, "one of each family, told in the namespace of each owner: {problems:?}");
}

#[test]
fn as_a_peer_it_must_be_allowed_as_both_owners() {
    let Some(cluster) = Cluster::of_all_members("contested-peer") else {
        return;
    };
    let objects = objects("node-b")
        // web is meant, twin is not.
        .with_policy(
            "shop",
            "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
        )
        // Both are meant, on different ports: TCP 80 and UDP are what they share.
        .with_policy(
            "shop",
            "{podSelector: {matchLabels: {app: cache}}, ingress: [\
             {from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 80}, {protocol: UDP}]}, \
             {from: [{namespaceSelector: {matchLabels: {team: blue}}}], \
             ports: [{port: 80, endPort: 8080}, {port: 80, protocol: UDP}]}]}",
        )
        // Both are meant alike.
        .with_policy("bank", "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}")
        // Blocks ask for the address only.
        .with_policy(
            "dev",
            "{podSelector: {matchLabels: {tier: test}}, ingress: [{from: [{ipBlock: {cidr: 10.244.1.2/32}}]}]}",
        )
        // By name: web's http is 80, twin's is 8080.
        .with_policy(
            "dev",
            "{podSelector: {matchLabels: {app: robot}}, policyTypes: [Egress], \
             egress: [{to: [{namespaceSelector: {}}], ports: [{port: http}]}]}",
        );
    cluster.enforce(&objects);
    let wrong = cluster.wrong(&SERVICES, |flow| match (flow.from.name, flow.to.name) {
        ("robot", "api" | "laptop") => flow.at(Tcp, 8080),
        ("robot", "teller") => flow.at(Tcp, 80),
        ("robot", _) => false,
        (_, "db") => false,
        ("web", "cache") => flow.at(Tcp, 80) || flow.at(Udp, 80),
        // teller, vault and audit are blue.
        (_, "cache") => {
            flow.from.namespace == "bank" && (flow.at(Tcp, 80) || flow.at(Tcp, 8080) || flow.at(Udp, 80))
        }
        ("web", "probe") => flow.is_v4(),
        (_, "probe") => false,
        _ => true,
    });
    assert_eq!(wrong, Vec::<String>::new());
}
