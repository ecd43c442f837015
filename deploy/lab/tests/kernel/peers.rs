//! Peers by label: podSelector, namespaceSelector, both in one peer, several peers, none.

use flock_lab::Protocol::Tcp;

use crate::rows::{Row, check};

#[test]
fn ingress_peers() {
    check(
        "from",
        &[
            Row {
                what: "a podSelector means pods of the policy's own namespace",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: db}}, \
                     ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
                )],
                allowed: |flow| !flow.is_to(&["db"]) || flow.is_from(&["web"]),
            },
            Row {
                what: "an empty podSelector is the whole own namespace",
                policies: &[("shop", "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}")],
                allowed: |flow| flow.to.namespace != "shop" || flow.from.namespace == "shop",
            },
            Row {
                what: "a namespaceSelector means every pod of the namespaces that have the labels",
                policies: &[(
                    "bank",
                    "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: red}}}]}]}",
                )],
                // Red are shop and dev; bank itself is blue.
                allowed: |flow| flow.to.namespace != "bank" || flow.from.namespace != "bank",
            },
            Row {
                what: "namespaces go by the name that the API server gives them as a label",
                policies: &[(
                    "bank",
                    "{podSelector: {}, ingress: [{from: [{namespaceSelector: \
                     {matchLabels: {kubernetes.io/metadata.name: dev}}}]}]}",
                )],
                allowed: |flow| flow.to.namespace != "bank" || flow.from.namespace == "dev",
            },
            Row {
                what: "both selectors in one peer: these pods of those namespaces",
                policies: &[(
                    "bank",
                    "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: red}}, \
                     podSelector: {matchLabels: {app: web}}}]}]}",
                )],
                // teller is a web too, but in bank.
                allowed: |flow| flow.to.namespace != "bank" || flow.is_from(&["web", "laptop"]),
            },
            Row {
                what: "both selectors in two peers: one or the other",
                policies: &[(
                    "bank",
                    "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: red}}}, \
                     {podSelector: {matchLabels: {app: web}}}]}]}",
                )],
                allowed: |flow| {
                    flow.to.namespace != "bank" || flow.from.namespace != "bank" || flow.is_from(&["teller"])
                },
            },
            Row {
                what: "no peers: any peer, and the ports still count",
                policies: &[(
                    "bank",
                    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [], ports: [{port: 80}]}]}",
                )],
                allowed: |flow| !flow.is_to(&["vault"]) || flow.at(Tcp, 80),
            },
            Row {
                what: "a peer that matches nobody is not the same as no peers",
                policies: &[(
                    "bank",
                    "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: nobody}}}]}]}",
                )],
                allowed: |flow| flow.to.namespace != "bank",
            },
        ],
    );
}

#[test]
fn egress_peers() {
    check(
        "to",
        &[
            Row {
                what: "a podSelector means pods of the policy's own namespace",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], \
                     egress: [{to: [{podSelector: {matchLabels: {tier: back}}}]}]}",
                )],
                allowed: |flow| !flow.is_from(&["web"]) || flow.is_to(&["api", "db"]),
            },
            Row {
                what: "a namespaceSelector, and both selectors in one peer",
                policies: &[(
                    "shop",
                    "{podSelector: {}, policyTypes: [Egress], egress: [{to: [\
                     {namespaceSelector: {matchLabels: {team: blue}}}, \
                     {namespaceSelector: {}, podSelector: {matchLabels: {app: robot}}}]}]}",
                )],
                allowed: |flow| {
                    flow.from.namespace != "shop" || flow.to.namespace == "bank" || flow.is_to(&["robot"])
                },
            },
            Row {
                what: "no peers: any peer, and the ports still count",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], \
                     egress: [{ports: [{port: 8080}]}]}",
                )],
                allowed: |flow| !flow.is_from(&["web"]) || flow.at(Tcp, 8080),
            },
        ],
    );
}
