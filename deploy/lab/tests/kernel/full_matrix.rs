//! Whole policy sets as people write them, over every pair, protocol and family; and every one again with all names
//! in the script colliding.

use flock_lab::Protocol::{Sctp, Tcp, Udp};

use crate::flow::Flow;
use crate::rows::{Row, check};

const DENY: &str = "{podSelector: {}, policyTypes: [Ingress, Egress]}";

const SETS: [Row; 5] = [
    Row { what: "no policy: everything passes", policies: &[], allowed: |_| true },
    Row {
        what: "default deny everywhere: nothing passes",
        policies: &[("shop", DENY), ("bank", DENY), ("dev", DENY)],
        allowed: |_| false,
    },
    Row {
        what: "namespaces as tenants: inside everything, across nothing",
        policies: &[
            (
                "shop",
                "{podSelector: {}, policyTypes: [Ingress, Egress], \
                 ingress: [{from: [{podSelector: {}}]}], egress: [{to: [{podSelector: {}}]}]}",
            ),
            (
                "bank",
                "{podSelector: {}, policyTypes: [Ingress, Egress], \
                 ingress: [{from: [{podSelector: {}}]}], egress: [{to: [{podSelector: {}}]}]}",
            ),
            (
                "dev",
                "{podSelector: {}, policyTypes: [Ingress, Egress], \
                 ingress: [{from: [{podSelector: {}}]}], egress: [{to: [{podSelector: {}}]}]}",
            ),
        ],
        allowed: |flow| flow.from.namespace == flow.to.namespace,
    },
    Row {
        what: "three tiers under default deny: both ends must allow, replies need no rule",
        policies: &[
            ("shop", DENY),
            (
                "shop",
                "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress], \
                 ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 80}]}], \
                 egress: [{to: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: http}]}]}",
            ),
            (
                "shop",
                "{podSelector: {matchLabels: {app: api}}, policyTypes: [Ingress, Egress], \
                 ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 8080}]}], \
                 egress: [{to: [{podSelector: {matchLabels: {app: db}}}], \
                 ports: [{port: 80, protocol: SCTP}, {port: 80, protocol: UDP}]}]}",
            ),
            // db listens to api on SCTP and TCP; what both ends agree on is SCTP alone.
            (
                "shop",
                "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress], \
                 ingress: [{from: [{podSelector: {matchLabels: {app: api}}}], \
                 ports: [{port: data, protocol: SCTP}, {port: 80}]}]}",
            ),
        ],
        allowed: |flow| match (flow.from.name, flow.to.name) {
            ("web", "api") => flow.at(Tcp, 8080),
            ("api", "db") => flow.at(Sctp, 80),
            // From other namespaces, which are not isolated.
            (_, "web") => flow.from.namespace != "shop" && flow.at(Tcp, 80),
            _ => flow.from.namespace != "shop" && flow.to.namespace != "shop",
        },
    },
    Row {
        what: "labels, blocks, names and ranges at once, overlapping on the same pods",
        policies: &[
            (
                "bank",
                "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/16, \
                 except: [10.244.1.0/29]}}], ports: [{port: 80, endPort: 90}]}]}",
            ),
            (
                "bank",
                "{podSelector: {matchLabels: {tier: front}}, ingress: [{from: [\
                 {namespaceSelector: {matchLabels: {env: prod}}, podSelector: {matchLabels: {tier: back}}}], \
                 ports: [{port: 8080}, {protocol: UDP}]}]}",
            ),
            (
                "bank",
                "{podSelector: {matchLabels: {tier: back}}, ingress: [{from: [{namespaceSelector: \
                 {matchLabels: {team: red}}}], ports: [{port: http, protocol: UDP}]}, \
                 {from: [{podSelector: {}}]}]}",
            ),
            (
                "dev",
                "{podSelector: {matchExpressions: [{key: app, operator: In, values: [robot, web]}]}, \
                 policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {env: prod}}}], \
                 ports: [{protocol: SCTP}, {port: http}]}, {to: [{ipBlock: {cidr: \"fd00:10:244::/48\"}}], \
                 ports: [{port: 80, protocol: UDP}]}]}",
            ),
        ],
        allowed: overlapping,
    },
];

/// The last set in words, destination first.
fn overlapping(flow: &Flow) -> bool {
    // Anyone on node-b, over v4: node-a's pods are all in the exception.
    let by_block = flow.is_v4() && flow.from.node == 2 && flow.at(Tcp, 80);
    let lets_in = match flow.to.name {
        "teller" => {
            by_block
                || (flow.is_from(&["api", "db", "vault"]) && (flow.at(Tcp, 8080) || flow.protocol == Udp))
        }
        "vault" => {
            // Its own namespace for anything, the red ones (the rest) for what it calls http.
            by_block || flow.from.namespace == "bank" || flow.at(Udp, 80)
        }
        "audit" => by_block,
        _ => true,
    };
    let http = match flow.to.name {
        "web" | "teller" => flow.at(Tcp, 80),
        "api" | "cache" => flow.at(Tcp, 8080),
        _ => false,
    };
    let lets_out = match flow.from.name {
        "robot" | "laptop" => {
            (flow.to.namespace != "dev" && (flow.protocol == Sctp || http))
                || (flow.is_v6() && flow.at(Udp, 80))
        }
        _ => true,
    };
    lets_in && lets_out
}

#[test]
fn every_pair_protocol_and_family() {
    check("full", &SETS);
}
