//! Peers by address: blocks of both families, their exceptions, and pods that happen to live in them.

use flock_lab::Protocol::Tcp;

use crate::cluster::Cluster;
use crate::flow::SERVICES;
use crate::objects::Objects;
use crate::rows::{Row, check};

#[test]
fn blocks_and_exceptions() {
    check(
        "blocks",
        &[
            Row {
                what: "a v4 block matches the pods in it, over v4 only; its except does not match",
                // node-a's pods are 10.244.1.2 to .6; the exception is api (.3) and web (.2).
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: \
                     {cidr: 10.244.1.0/24, except: [10.244.1.2/31]}}]}]}",
                )],
                allowed: |flow| {
                    !flow.is_to(&["db"]) || (flow.is_v4() && flow.is_from(&["teller", "audit", "laptop"]))
                },
            },
            Row {
                what: "a v6 block likewise",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: \
                     {cidr: \"fd00:10:244:1::/64\", except: [\"fd00:10:244:1::2/127\"]}}]}]}",
                )],
                allowed: |flow| {
                    !flow.is_to(&["db"]) || (flow.is_v6() && flow.is_from(&["teller", "audit", "laptop"]))
                },
            },
            Row {
                what: "all of v4 is not all: v6 stays closed",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: \
                     {cidr: 0.0.0.0/0, except: [10.244.1.2/32]}}]}]}",
                )],
                allowed: |flow| !flow.is_to(&["db"]) || (flow.is_v4() && !flow.is_from(&["web"])),
            },
            Row {
                what: "all of v6 is not all either",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: \"::/0\"}}]}]}",
                )],
                allowed: |flow| !flow.is_to(&["db"]) || flow.is_v6(),
            },
            Row {
                what: "an except belongs to its own peer: other peers may allow what it leaves out",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [\
                     {ipBlock: {cidr: 10.244.1.0/24, except: [10.244.1.2/31]}}, \
                     {ipBlock: {cidr: 10.244.1.3/32}}, \
                     {podSelector: {matchLabels: {app: web}}}]}]}",
                )],
                // api is let in by its own block (v4), web by its label (both families).
                allowed: |flow| {
                    !flow.is_to(&["db"])
                        || flow.is_from(&["web"])
                        || (flow.is_v4() && flow.is_from(&["api", "teller", "audit", "laptop"]))
                },
            },
            Row {
                what: "egress to blocks, with ports, overlapping and nested",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [\
                     {to: [{ipBlock: {cidr: 10.244.0.0/16, except: [10.244.2.0/24]}}, \
                     {ipBlock: {cidr: 10.244.2.4/30}}]}, \
                     {to: [{ipBlock: {cidr: \"fd00:10:244::/48\"}}], ports: [{port: 80}]}]}",
                )],
                // 10.244.2.4/30 holds vault, robot and probe.
                allowed: |flow| {
                    !flow.is_from(&["web"])
                        || if flow.is_v4() {
                            flow.to.node == 1 || flow.is_to(&["vault", "robot", "probe"])
                        } else {
                            flow.at(Tcp, 80)
                        }
                },
            },
            Row {
                what: "a block with host bits is the block around them",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: db}}, \
                     ingress: [{from: [{ipBlock: {cidr: 10.244.1.77/24}}]}]}",
                )],
                allowed: |flow| !flow.is_to(&["db"]) || (flow.is_v4() && flow.from.node == 1),
            },
        ],
    );
}

/// The API server refuses such a policy; one that comes from a file isolates its pods and opens nothing.
#[test]
fn an_except_of_the_other_family_opens_nothing() {
    let Some(cluster) = Cluster::of_all_members("mixed-except") else {
        return;
    };
    let objects = Objects::of_all_members()
        .with_policy(
            "shop",
            "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: \
             {cidr: 10.244.0.0/16, except: [\"fd00:10:244:1::/64\"]}}]}]}",
        )
        .faulty();
    cluster.enforce(&objects);
    let wrong = cluster.wrong(&SERVICES, |flow| !flow.is_to(&["db"]));
    assert_eq!(wrong, Vec::<String>::new());
}
