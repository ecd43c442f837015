//! Policies that are understood.

use flock_compiler_core::object::{
    NamespaceScope, Peer, PeerMatch, Policy, PolicyBody, PolicyRules, PortMatch, PortName, RulePorts,
};
use flock_compiler_core::port::{PortRange, Protocol};
use serde_json::{Value, json};

use super::policy;

fn rules(policy: &Policy) -> &PolicyRules {
    match &policy.body {
        PolicyBody::Understood(rules) => rules,
        PolicyBody::NotUnderstood { faults, .. } => panic!("{faults:?}"),
    }
}

#[test]
fn policy_types_default_as_in_the_api() {
    let directions = |spec: Value| {
        let policy = policy(&spec);
        let rules = rules(&policy);
        (rules.ingress.is_some(), rules.egress.is_some())
    };
    assert_eq!(directions(Value::Null), (true, false));
    assert_eq!(directions(json!({"podSelector": {}})), (true, false));
    assert_eq!(directions(json!({"egress": []})), (true, false));
    assert_eq!(directions(json!({"egress": [{}]})), (true, true));
    assert_eq!(directions(json!({"policyTypes": [], "egress": [{}]})), (true, true));
    assert_eq!(directions(json!({"policyTypes": ["Ingress"], "egress": [{}]})), (true, false));
    assert_eq!(directions(json!({"policyTypes": ["Egress"], "ingress": [{}]})), (false, true));
    assert_eq!(directions(json!({"policyTypes": ["Egress", "Ingress"]})), (true, true));
}

#[test]
fn absent_and_empty_peers_and_ports_are_anyone_and_anything() {
    for rule in [json!({}), json!({"from": [], "ports": []}), json!({"from": null, "ports": null})] {
        let policy = policy(&json!({"ingress": [rule]}));
        let rule = &rules(&policy).ingress.as_ref().unwrap()[0];
        assert_eq!((&rule.peers, &rule.ports), (&PeerMatch::Any, &RulePorts::Any));
    }
}

#[test]
fn peers_are_pods_of_some_namespaces_or_blocks() {
    let policy = policy(&json!({"ingress": [{"from": [
        {"podSelector": {"matchLabels": {"a": "1"}}},
        {"namespaceSelector": {"matchLabels": {"b": "2"}}},
        {"namespaceSelector": {}, "podSelector": {}},
        {"ipBlock": {"cidr": "10.1.2.3/16", "except": ["10.1.0.0/17", "10.1.128.0/18"]}},
        {"ipBlock": {"cidr": "fd00::/16"}},
    ]}]}));
    let PeerMatch::OneOf(peers) = &rules(&policy).ingress.as_ref().unwrap()[0].peers else { panic!() };
    let told: Vec<String> = peers
        .iter()
        .map(|peer| match peer {
            Peer::Pods(peer) => match &peer.namespaces {
                NamespaceScope::Named(name) => format!("{name}: {}", peer.pods),
                NamespaceScope::Matching(selector) => format!("[{selector}]: {}", peer.pods),
            },
            Peer::Block(block) => block.blocks().display().collect::<Vec<_>>().join(" "),
        })
        .collect();
    assert_eq!(told, ["shop: a=1", "[b=2]: *", "[*]: *", "10.1.192.0/18", "fd00::/16"]);
}

#[test]
fn ports_are_numbers_ranges_names_or_protocols() {
    let policy = policy(&json!({"egress": [{"ports": [
        {"port": 80},
        {"port": 53, "protocol": "UDP"},
        {"port": 1000, "endPort": 2000, "protocol": "SCTP"},
        {"port": 7, "endPort": 7},
        {"port": "http-1"},
        {"protocol": "UDP"},
        {},
    ]}]}));
    let RulePorts::OneOf(ports) = &rules(&policy).egress.as_ref().unwrap()[0].ports else { panic!() };
    let range = |protocol, first, last| PortMatch::Range(PortRange::new(protocol, first, last).unwrap());
    assert_eq!(
        *ports,
        [
            range(Protocol::Tcp, 80, 80),
            range(Protocol::Udp, 53, 53),
            range(Protocol::Sctp, 1000, 2000),
            range(Protocol::Tcp, 7, 7),
            PortMatch::Named { protocol: Protocol::Tcp, name: PortName::new("http-1") },
            range(Protocol::Udp, 0, 65535),
            range(Protocol::Tcp, 0, 65535),
        ]
    );
}

/// An API server that reads a field of before there was one notation takes all of these for the same.
#[test]
fn a_block_in_legacy_notation_is_the_block_that_it_means() {
    let blocks = |block: Value| {
        let policy = policy(&json!({"ingress": [{"from": [{"ipBlock": block}]}]}));
        let PeerMatch::OneOf(peers) = &rules(&policy).ingress.as_ref().unwrap()[0].peers else {
            panic!("{policy:?}")
        };
        let Peer::Block(block) = &peers[0] else { panic!("{peers:?}") };
        block.blocks().display().collect::<Vec<_>>()
    };
    let plain = blocks(json!({"cidr": "10.0.0.0/8", "except": ["10.128.0.0/9"]}));
    for (cidr, except) in [
        ("10.0.0.0/08", "010.128.0.0/9"),
        ("::ffff:10.0.0.0/104", "10.128.0.0/9"),
        ("10.0.0.0/8", "::ffff:0a80:0/0105"),
        ("10.000.0.1/8", "::ffff:10.128.0.0/105"),
    ] {
        assert_eq!(blocks(json!({"cidr": cidr, "except": [except]})), plain, "{cidr} {except}");
    }
    assert_eq!(blocks(json!({"cidr": "::ffff:0.0.0.0/96"})), ["0.0.0.0/0"]);
}
