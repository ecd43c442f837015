//! Ports: number, range, protocol alone, none at all; and names, which every destination resolves for itself.

use flock_lab::Protocol::{Sctp, Tcp, Udp};

use crate::flow::{Flow, SERVED};
use crate::rows::{Row, check, check_services};

#[test]
fn numbers_and_ranges() {
    check_services(
        "ports",
        &SERVED,
        &[
            Row {
                what: "a number without a protocol is TCP; no other protocol, no echo",
                policies: &[("shop", "{podSelector: {}, ingress: [{ports: [{port: 80}]}]}")],
                allowed: |flow| flow.to.namespace != "shop" || flow.at(Tcp, 80),
            },
            Row {
                what: "numbers with a protocol",
                policies: &[(
                    "shop",
                    "{podSelector: {}, ingress: [{ports: [{port: 81, protocol: UDP}, {port: 80, protocol: SCTP}]}]}",
                )],
                allowed: |flow| flow.to.namespace != "shop" || flow.at(Udp, 81) || flow.at(Sctp, 80),
            },
            Row {
                what: "a protocol alone is every port of it",
                policies: &[(
                    "shop",
                    "{podSelector: {}, ingress: [{ports: [{protocol: UDP}, {protocol: SCTP}]}]}",
                )],
                allowed: |flow| flow.to.namespace != "shop" || matches!(flow.protocol, Udp | Sctp),
            },
            Row {
                what: "endPort, both ends included",
                policies: &[(
                    "shop",
                    "{podSelector: {}, ingress: [{ports: [{port: 81, endPort: 82}, \
                     {port: 81, endPort: 9000, protocol: SCTP}]}]}",
                )],
                allowed: |flow| {
                    flow.to.namespace != "shop" || flow.at(Tcp, 81) || flow.at(Tcp, 82) || flow.at(Sctp, 8080)
                },
            },
            Row {
                what: "no ports: any port, any protocol, and echo",
                policies: &[(
                    "shop",
                    "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}, \
                     {from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 80}]}]}",
                )],
                allowed: |flow| {
                    flow.to.namespace != "shop"
                        || flow.is_from(&["web"])
                        || (flow.is_from(&["api"]) && flow.at(Tcp, 80))
                },
            },
            Row {
                what: "within a rule every peer goes with every port; overlapping rules add up per port",
                policies: &[
                    (
                        "shop",
                        "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [\
                         {podSelector: {matchLabels: {app: web}}}, {podSelector: {matchLabels: {app: api}}}], \
                         ports: [{port: 80, endPort: 81}, {port: 80, protocol: UDP}]}]}",
                    ),
                    (
                        "shop",
                        "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [\
                         {podSelector: {matchLabels: {app: cache}}}], ports: [{port: 81, endPort: 82}]}]}",
                    ),
                ],
                allowed: |flow| match (flow.to.name, flow.from.name) {
                    ("db", "web" | "api") => flow.at(Tcp, 80) || flow.at(Tcp, 81) || flow.at(Udp, 80),
                    ("db", "cache") => flow.at(Tcp, 81) || flow.at(Tcp, 82),
                    ("db", _) => false,
                    _ => true,
                },
            },
            Row {
                what: "egress: number, range and protocol alone",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [\
                     {to: [{podSelector: {}}], ports: [{port: 80}, {port: 8000, endPort: 9000, protocol: SCTP}]}, \
                     {to: [{namespaceSelector: {matchLabels: {team: blue}}}], ports: [{protocol: UDP}]}]}",
                )],
                allowed: |flow| match (flow.from.name, flow.to.namespace) {
                    ("web", "shop") => flow.at(Tcp, 80) || flow.at(Sctp, 8080),
                    ("web", "bank") => flow.protocol == Udp,
                    ("web", _) => false,
                    _ => true,
                },
            },
        ],
    );
}

/// Whether the flow goes to what its destination calls `http`, on TCP.
fn is_http(flow: &Flow) -> bool {
    match flow.to.name {
        "web" | "teller" => flow.at(Tcp, 80),
        // Of cache's two, only the sidecar's counts.
        "api" | "laptop" | "cache" => flow.at(Tcp, 8080),
        "robot" => flow.at(Tcp, 80) || flow.at(Tcp, 8080),
        _ => false,
    }
}

#[test]
fn names() {
    check(
        "port-names",
        &[
            Row {
                what: "ingress: the name is resolved on each selected pod; who lacks it gets nothing",
                policies: &[
                    ("shop", "{podSelector: {}, ingress: [{ports: [{port: http}]}]}"),
                    ("dev", "{podSelector: {}, ingress: [{ports: [{port: http}]}]}"),
                ],
                allowed: |flow| flow.to.namespace == "bank" || is_http(flow),
            },
            Row {
                what: "ingress: the same name on another protocol is another port; names and numbers mix",
                policies: &[(
                    "bank",
                    "{podSelector: {}, ingress: [{ports: [{port: http, protocol: UDP}, \
                     {port: 80, protocol: SCTP}]}]}",
                )],
                allowed: |flow| {
                    flow.to.namespace != "bank"
                        || flow.at(Sctp, 80)
                        || (flow.is_to(&["vault"]) && flow.at(Udp, 80))
                },
            },
            Row {
                what: "ingress: names count for the peers of their rule only",
                policies: &[(
                    "shop",
                    "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], \
                     ports: [{port: http}]}, \
                     {from: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 8080}]}]}",
                )],
                allowed: |flow| {
                    flow.to.namespace != "shop"
                        || (flow.is_from(&["web"]) && is_http(flow))
                        || (flow.is_from(&["db"]) && flow.at(Tcp, 8080))
                },
            },
            Row {
                what: "egress: the name is resolved on whichever selected pod is the destination",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {tier: back}}, policyTypes: [Egress], egress: [{to: [\
                     {podSelector: {}}, {namespaceSelector: {matchLabels: {team: red}}, \
                     podSelector: {matchLabels: {tier: front}}}], ports: [{port: http}]}]}",
                )],
                // Selected are all of shop, and robot.
                allowed: |flow| {
                    !flow.is_from(&["api", "db"])
                        || (is_http(flow) && (flow.to.namespace == "shop" || flow.is_to(&["robot"])))
                },
            },
            Row {
                what: "egress: also on a pod that is reached through an ipBlock",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [\
                     {ipBlock: {cidr: 10.244.1.0/24, except: [10.244.1.2/32]}}, \
                     {ipBlock: {cidr: \"fd00:10:244:2::/64\"}}], ports: [{port: http}]}]}",
                )],
                // Over v4 node-a's pods but web, over v6 node-b's.
                allowed: |flow| {
                    let in_block = if flow.is_v4() {
                        flow.to.node == 1 && !flow.is_to(&["web"])
                    } else {
                        flow.to.node == 2
                    };
                    !flow.is_from(&["db"]) || (is_http(flow) && in_block)
                },
            },
            Row {
                what: "egress: also on any pod, through an empty `to`",
                policies: &[(
                    "shop",
                    "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], \
                     egress: [{to: [], ports: [{port: http}, {port: dns, protocol: UDP}]}]}",
                )],
                allowed: |flow| {
                    !flow.is_from(&["db"]) || is_http(flow) || (flow.is_to(&["probe"]) && flow.at(Udp, 80))
                },
            },
            Row {
                what: "a name that nobody has allows nothing",
                policies: &[
                    ("shop", "{podSelector: {}, ingress: [{ports: [{port: gopher}]}]}"),
                    ("dev", "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: gopher}]}]}"),
                ],
                allowed: |flow| flow.to.namespace != "shop" && flow.from.namespace != "dev",
            },
        ],
    );
}
