//! Which pods a policy isolates, in which directions, and how several policies add up.

use flock_lab::Protocol::{Sctp, Tcp};

use crate::rows::{Row, check};

#[test]
fn policy_types_and_their_defaults() {
    check(
        "types",
        &[
            Row {
                what: "without policyTypes and egress: ingress only",
                policies: &[("shop", "{podSelector: {matchLabels: {app: web}}}")],
                allowed: |flow| !flow.is_to(&["web"]),
            },
            Row {
                what: "without policyTypes but with egress rules: both",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: web}}, \
                     egress: [{to: [{podSelector: {matchLabels: {app: api}}}]}]}",
                )],
                allowed: |flow| match flow.from.name {
                    "web" => flow.is_to(&["api"]),
                    _ => !flow.is_to(&["web"]),
                },
            },
            Row {
                what: "without policyTypes, egress is there but empty: ingress only",
                policies: &[("shop", "{podSelector: {matchLabels: {app: web}}, egress: []}")],
                allowed: |flow| !flow.is_to(&["web"]),
            },
            Row {
                what: "policyTypes without Ingress: ingress rules mean nothing and isolate nobody",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], \
                     ingress: [{from: [{podSelector: {matchLabels: {app: api}}}]}]}",
                )],
                allowed: |flow| !flow.is_from(&["web"]),
            },
            Row {
                what: "policyTypes without Egress: egress rules mean nothing and isolate nobody",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], \
                     egress: [{to: [{podSelector: {matchLabels: {app: api}}}]}]}",
                )],
                allowed: |flow| !flow.is_to(&["web"]),
            },
            Row {
                what: "both policyTypes and no rules: nothing in, nothing out",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress]}",
                )],
                allowed: |flow| !flow.is_from(&["web"]) && !flow.is_to(&["web"]),
            },
        ],
    );
}

#[test]
fn subjects_and_the_union_of_policies() {
    check(
        "union",
        &[
            Row {
                what: "an empty podSelector is every pod of the policy's namespace and no other",
                policies: &[("shop", "{podSelector: {}, policyTypes: [Ingress]}")],
                allowed: |flow| flow.to.namespace != "shop",
            },
            Row {
                what: "one empty rule allows everything",
                policies: &[
                    ("shop", "{podSelector: {}, policyTypes: [Ingress, Egress]}"),
                    ("shop", "{podSelector: {matchLabels: {app: web}}, ingress: [{}], egress: [{}]}"),
                ],
                // The other shop pods stay closed, also to web, which may send.
                allowed: |flow| {
                    let closed = ["api", "db", "cache"];
                    !flow.is_from(&closed) && !flow.is_to(&closed)
                },
            },
            Row {
                what: "policies add up rule by rule, never peers of one with ports of another",
                policies: &[
                    (
                        "shop",
                        "{podSelector: {matchLabels: {tier: back}}, policyTypes: [Ingress], \
                         ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 80}]}]}",
                    ),
                    (
                        "shop",
                        "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress], \
                         ingress: [{from: [{podSelector: {matchLabels: {app: api}}}], \
                         ports: [{port: 80, protocol: SCTP}]}]}",
                    ),
                    ("shop", "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}"),
                ],
                allowed: |flow| match flow.to.name {
                    "api" => flow.is_from(&["web"]) && flow.at(Tcp, 80),
                    "db" => {
                        (flow.is_from(&["web"]) && flow.at(Tcp, 80))
                            || (flow.is_from(&["api"]) && flow.at(Sctp, 80))
                    }
                    _ => true,
                },
            },
            Row {
                what: "each direction adds up on its own",
                policies: &[
                    (
                        "shop",
                        "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], \
                         ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]}",
                    ),
                    (
                        "shop",
                        "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], \
                         egress: [{to: [{podSelector: {matchLabels: {app: api}}}]}]}",
                    ),
                    (
                        "shop",
                        "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], \
                         egress: [{to: [{podSelector: {matchLabels: {app: cache}}}], ports: [{port: 80}]}]}",
                    ),
                ],
                allowed: |flow| {
                    if flow.is_from(&["web"]) {
                        flow.is_to(&["api"]) || (flow.is_to(&["cache"]) && flow.at(Tcp, 80))
                    } else {
                        !flow.is_to(&["web"]) || flow.is_from(&["db"])
                    }
                },
            },
        ],
    );
}
