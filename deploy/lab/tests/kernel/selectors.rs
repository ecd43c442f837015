//! Label selectors: the four operators on pods and namespaces, as subjects and as peers.

use crate::rows::{Row, check};

#[test]
fn operators_on_pods_and_namespaces() {
    check(
        "operators",
        &[
            Row {
                what: "In: the value is one of these",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: \
                     {matchExpressions: [{key: app, operator: In, values: [web, cache]}]}}]}]}",
                )],
                allowed: |flow| !flow.is_to(&["db"]) || flow.is_from(&["web", "cache"]),
            },
            Row {
                what: "NotIn: another value, or no such key (cache has no tier)",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: \
                     {matchExpressions: [{key: tier, operator: NotIn, values: [back]}]}}]}]}",
                )],
                allowed: |flow| !flow.is_to(&["db"]) || flow.is_from(&["web", "cache"]),
            },
            Row {
                what: "Exists",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: \
                     {matchExpressions: [{key: tier, operator: Exists}]}}]}]}",
                )],
                allowed: |flow| !flow.is_to(&["db"]) || flow.is_from(&["web", "api"]),
            },
            Row {
                what: "DoesNotExist",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: \
                     {matchExpressions: [{key: tier, operator: DoesNotExist}]}}]}]}",
                )],
                allowed: |flow| !flow.is_to(&["db"]) || flow.is_from(&["cache"]),
            },
            Row {
                what: "labels and expressions must all hold",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {}, \
                     podSelector: {matchLabels: {tier: front}, \
                     matchExpressions: [{key: app, operator: NotIn, values: [robot]}]}}]}]}",
                )],
                allowed: |flow| !flow.is_to(&["db"]) || flow.is_from(&["web", "teller"]),
            },
            Row {
                what: "operators on namespaces: dev has no env, which satisfies NotIn",
                policies: &[(
                    "bank",
                    "{podSelector: {}, ingress: [{from: [{namespaceSelector: \
                     {matchExpressions: [{key: env, operator: NotIn, values: [prod]}]}}]}]}",
                )],
                allowed: |flow| flow.to.namespace != "bank" || flow.from.namespace == "dev",
            },
            Row {
                what: "operators on namespaces: Exists and In together",
                policies: &[(
                    "bank",
                    "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: \
                     {matchExpressions: [{key: env, operator: Exists}, \
                     {key: team, operator: In, values: [red, green]}]}}]}]}",
                )],
                allowed: |flow| flow.from.namespace != "bank" || flow.to.namespace == "shop",
            },
            Row {
                what: "operators choose subjects too: audit has no labels at all",
                policies: &[(
                    "bank",
                    "{podSelector: {matchExpressions: [{key: app, operator: DoesNotExist}, \
                     {key: tier, operator: NotIn, values: [front, back]}]}, \
                     policyTypes: [Ingress, Egress]}",
                )],
                allowed: |flow| !flow.is_from(&["audit"]) && !flow.is_to(&["audit"]),
            },
        ],
    );
}
