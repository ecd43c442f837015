//! Policies that are not understood: all that is wrong is told, and they isolate.

use flock_compiler_core::object::{Policy, PolicyBody, Types};
use serde_json::{Value, json};

use super::{converter, policy};
use crate::{ClusterObject, Converted};

/// The directions in which a policy that was not understood isolates, and its faults.
fn faults(policy: &Policy) -> (Types, Vec<String>) {
    match &policy.body {
        PolicyBody::Understood(rules) => panic!("understood: {rules:?}"),
        PolicyBody::NotUnderstood { types, faults } => {
            (*types, faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect())
        }
    }
}

#[test]
fn a_policy_of_another_version_isolates_what_it_selects() {
    for api_version in ["networking.k8s.io/v2", "extensions/v1beta1"] {
        let converted = converter().object(&json!({
            "apiVersion": api_version, "kind": "NetworkPolicy", "metadata": {"name": "a"},
            "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"]},
        }));
        let Ok(Converted::Object(ClusterObject::Policy(policy))) = converted else { panic!("{converted:?}") };
        assert_eq!(policy.pod_selector.to_string(), "app=web");
        let message = format!("apiVersion: \"{api_version}\" is not known; expected networking.k8s.io/v1");
        assert_eq!(faults(&policy), (Types::Egress, vec![message]));
    }
}

#[test]
fn every_bad_port_is_a_fault() {
    let policy = policy(&json!({"ingress": [{"ports": [
        {"port": 0}, {"port": 70000}, {"port": -1}, {"port": 80.5}, {"port": true},
        {"port": "80"}, {"port": "HTTP"}, {"port": ""}, {"port": "a--b"}, {"port": "sixteen-letters-"},
        {"port": 80, "endPort": 79}, {"port": "http", "endPort": 80}, {"endPort": 80}, {"port": 80, "endPort": 65536},
        {"port": 80, "protocol": "tcp"}, {"port": 80, "protocol": "ICMP"}, {"port": 80, "hostPort": 80}, 80,
    ]}]}));
    let (types, faults) = faults(&policy);
    assert_eq!(types, Types::Ingress);
    let name = "is neither a number nor a port name: 1 to 15 lower case letters, digits and single inner '-', \
                at least one letter";
    let number = "expected a port number from 1 to 65535";
    let expected = [
        format!("[0].port: found 0; {number}"),
        format!("[1].port: found 70000; {number}"),
        format!("[2].port: found -1; {number}"),
        format!("[3].port: found 80.5; {number}"),
        format!("[4].port: found true; {number}"),
        format!("[5].port: \"80\" {name}"),
        format!("[6].port: \"HTTP\" {name}"),
        format!("[7].port: \"\" {name}"),
        format!("[8].port: \"a--b\" {name}"),
        format!("[9].port: \"sixteen-letters-\" {name}"),
        "[10].endPort: found 79; expected at least port, which is 80".to_owned(),
        "[11].endPort: is given with a named port; a range needs a number in port".to_owned(),
        "[12].endPort: is given without port; a range needs both".to_owned(),
        format!("[13].endPort: found 65536; {number}"),
        "[14].protocol: \"tcp\" is not a protocol; expected TCP, UDP or SCTP".to_owned(),
        "[15].protocol: \"ICMP\" is not a protocol; expected TCP, UDP or SCTP".to_owned(),
        "[16].hostPort: is not a known field; expected one of protocol, port, endPort".to_owned(),
        "[17]: found 80; expected an object".to_owned(),
    ];
    assert_eq!(faults, expected.map(|fault| format!("spec.ingress[0].ports{fault}")));
}

#[test]
fn every_bad_peer_is_a_fault() {
    let policy = policy(&json!({"egress": [{"to": [
        {},
        {"ipBlock": {"cidr": "10.0.0.0/33"}},
        {"ipBlock": {"cidr": "10.0.0.0"}},
        {"ipBlock": {"cidr": "::ffff:10.0.0.0/129"}},
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16", "10.0.0.0/8", "fd00::/64", "x", "10.1.0.0/16"]}},
        {"ipBlock": {"except": ["10.0.0.0/8"]}},
        {"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}},
        {"serviceSelector": {}},
        null,
        {"podSelector": {"matchLabels": []}},
    ], "from": []}]}));
    let (types, faults) = faults(&policy);
    assert_eq!(types, Types::Both);
    let expected = [
        ".from: is not a known field; expected one of to, ports",
        ".to[0]: is empty; expected podSelector, namespaceSelector or ipBlock",
        ".to[1].ipBlock.cidr: \"10.0.0.0/33\" is not a CIDR block such as 10.0.0.0/8 or fd00::/64",
        ".to[2].ipBlock.cidr: \"10.0.0.0\" is not a CIDR block such as 10.0.0.0/8 or fd00::/64",
        ".to[3].ipBlock.cidr: \"::ffff:10.0.0.0/129\" is not a CIDR block such as 10.0.0.0/8 or fd00::/64",
        ".to[4].ipBlock.except[0]: 11.0.0.0/16 is not strictly within 10.0.0.0/8",
        ".to[4].ipBlock.except[1]: 10.0.0.0/8 is not strictly within 10.0.0.0/8",
        ".to[4].ipBlock.except[2]: fd00::/64 is not strictly within 10.0.0.0/8",
        ".to[4].ipBlock.except[3]: \"x\" is not a CIDR block such as 10.0.0.0/8 or fd00::/64",
        ".to[5].ipBlock.cidr: is missing; expected a block such as 10.0.0.0/8 or fd00::/64",
        ".to[6]: has both ipBlock and a selector; a peer is one or the other",
        ".to[7].serviceSelector: is not a known field; expected one of podSelector, namespaceSelector, ipBlock",
        ".to[8]: found null; expected an object",
        ".to[9].podSelector.matchLabels: found a list; expected an object",
    ];
    assert_eq!(faults, expected.map(|fault| format!("spec.egress[0]{fault}")));
}

#[test]
fn what_cannot_be_read_of_subjects_and_directions_is_everything() {
    let check = |spec: Value, pod_selector: &str, types: Types, fault: &str| {
        let policy = policy(&spec);
        assert_eq!(policy.pod_selector.to_string(), pod_selector, "{spec}");
        assert_eq!(faults(&policy), (types, vec![fault.to_owned()]), "{spec}");
    };
    let web = json!({"matchLabels": {"app": "web"}});
    check(json!("x"), "*", Types::Both, "spec: found \"x\"; expected an object");
    check(
        json!({"podSelector": {"matchLabels": {"app": true}}}),
        "*",
        Types::Ingress,
        "spec.podSelector.matchLabels.app: found true; expected a string (quote it)",
    );
    check(
        json!({"podSelector": web, "policyTypes": ["Ingress", "Forward"]}),
        "app=web",
        Types::Both,
        "spec.policyTypes[1]: \"Forward\" is not a policy type; expected Ingress or Egress",
    );
    check(
        json!({"podSelector": web, "policyTypes": "Ingress"}),
        "app=web",
        Types::Both,
        "spec.policyTypes: found \"Ingress\"; expected a list",
    );
    check(
        json!({"podSelector": web, "policyTypes": ["Ingress"], "egress": [{"to": [{}]}]}),
        "app=web",
        Types::Ingress,
        "spec.egress[0].to[0]: is empty; expected podSelector, namespaceSelector or ipBlock",
    );
    check(
        json!({"podSelector": web, "policyTypes": ["Egress"], "priority": 1}),
        "app=web",
        Types::Egress,
        "spec.priority: is not a known field; expected one of podSelector, policyTypes, ingress, egress",
    );
    check(
        json!({"podSelector": web, "egress": {}}),
        "app=web",
        Types::Both,
        "spec.egress: found an object; expected a list",
    );
    check(json!({"ingress": [null]}), "*", Types::Ingress, "spec.ingress[0]: found null; expected an object");

    let misspelt =
        converter().policy(&json!({"metadata": {"name": "a"}, "sepc": {"podSelector": web}})).unwrap();
    assert!(misspelt.pod_selector.is_everything());
    assert_eq!(faults(&misspelt).0, Types::Both);
}
