//! Every flow is judged at both ends, on one node as across two; replies are judged at neither.

use flock_lab::Protocol::Tcp;

use crate::rows::{Row, check};

#[test]
fn source_and_destination_must_both_allow() {
    check(
        "both-ends",
        &[
            Row {
                // web and api share a node, web and db do not.
                what: "what the source may send, the destination may still refuse",
                policies: &[
                    (
                        "shop",
                        "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], \
                         egress: [{to: [{podSelector: {}}]}]}",
                    ),
                    ("shop", "{podSelector: {matchLabels: {tier: back}}, policyTypes: [Ingress]}"),
                ],
                allowed: |flow| {
                    !flow.is_to(&["api", "db"]) && (!flow.is_from(&["web"]) || flow.is_to(&["cache"]))
                },
            },
            Row {
                what: "what the destination lets in, the source may still not send",
                policies: &[
                    ("shop", "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}"),
                    (
                        "shop",
                        "{podSelector: {matchLabels: {tier: back}}, policyTypes: [Ingress], \
                         ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
                    ),
                ],
                allowed: |flow| !flow.is_from(&["web"]) && !flow.is_to(&["api", "db"]),
            },
            Row {
                what: "ports are judged at both ends: the narrower one decides",
                policies: &[
                    (
                        "shop",
                        "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], \
                         egress: [{ports: [{port: 1, endPort: 65535}]}]}",
                    ),
                    (
                        "shop",
                        "{podSelector: {matchLabels: {tier: back}}, policyTypes: [Ingress], \
                         ingress: [{from: [{podSelector: {}}], ports: [{port: 8080}, {protocol: UDP}]}]}",
                    ),
                ],
                allowed: |flow| {
                    let sent = !flow.is_from(&["web"]) || flow.protocol == Tcp;
                    let let_in = !flow.is_to(&["api", "db"])
                        || (flow.from.namespace == "shop"
                            && (flow.at(Tcp, 8080) || flow.protocol == flock_lab::Protocol::Udp));
                    sent && let_in
                },
            },
            Row {
                what: "replies pass under default deny on both sides; the way back as a request does not",
                policies: &[
                    ("shop", "{podSelector: {}, policyTypes: [Ingress, Egress]}"),
                    (
                        "shop",
                        "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], \
                         egress: [{to: [{podSelector: {matchLabels: {tier: back}}}]}]}",
                    ),
                    (
                        "shop",
                        "{podSelector: {matchLabels: {tier: back}}, policyTypes: [Ingress], \
                         ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
                    ),
                ],
                allowed: |flow| {
                    (flow.is_from(&["web"]) && flow.is_to(&["api", "db"]))
                        || (flow.from.namespace != "shop" && flow.to.namespace != "shop")
                },
            },
        ],
    );
}
