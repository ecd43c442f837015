//! Nodes: their pod CIDRs, and those that are left out.

use serde_json::{Value, json};

use super::converter;

/// The blocks of a node with this spec, and what was left out.
fn blocks(spec: &Value) -> (Vec<String>, Vec<String>) {
    let node = converter().node(&json!({"metadata": {"name": "n1"}, "spec": spec})).unwrap();
    let blocks = node.pod_cidrs.iter().map(ToString::to_string);
    (blocks.collect(), node.faults.iter().map(ToString::to_string).collect())
}

#[test]
fn the_list_counts_before_the_single_block() {
    for (spec, expected) in [
        (json!(null), vec![]),
        (json!({}), vec![]),
        (json!({"podCIDR": "", "podCIDRs": []}), vec![]),
        (json!({"podCIDR": "10.244.1.0/24"}), vec!["10.244.1.0/24"]),
        (json!({"podCIDR": "10.244.1.0/24", "podCIDRs": []}), vec!["10.244.1.0/24"]),
        (
            json!({"podCIDR": "10.244.1.0/24", "podCIDRs": ["fd00:1::/64", "10.244.1.0/24"]}),
            vec!["10.244.1.0/24", "fd00:1::/64"],
        ),
        (json!({"podCIDRs": ["10.244.1.7/24", "10.244.1.0/24"]}), vec!["10.244.1.0/24"]),
        // As Kubernetes reads them: decimal, and IPv4 if they are mapped.
        (json!({"podCIDRs": ["10.244.001.0/024", "::ffff:10.244.1.0/120"]}), vec!["10.244.1.0/24"]),
    ] {
        assert_eq!(blocks(&spec), (expected.into_iter().map(str::to_owned).collect(), vec![]), "{spec}");
    }
}

#[test]
fn a_node_whose_blocks_are_not_understood_is_still_a_node() {
    let (found, faults) = blocks(&json!({"podCIDRs": [
        "10.244.1.0/33", "0.0.0.0/0", "::ffff:0.0.0.0/96", 7, "10.244.1.0/24", "10.0.0.1",
    ]}));
    assert_eq!(found, ["10.244.1.0/24"]);
    assert_eq!(
        faults,
        [
            "f.yaml: spec.podCIDRs[0]: \"10.244.1.0/33\" is not a CIDR block such as 10.0.0.0/8 or fd00::/64",
            "f.yaml: spec.podCIDRs[1]: 0.0.0.0/0 is every address of its family; expected the block of one node",
            "f.yaml: spec.podCIDRs[2]: 0.0.0.0/0 is every address of its family; expected the block of one node",
            "f.yaml: spec.podCIDRs[3]: found 7; expected a string",
            "f.yaml: spec.podCIDRs[5]: \"10.0.0.1\" is not a CIDR block such as 10.0.0.0/8 or fd00::/64",
        ]
    );
    let told = |spec: &Value| blocks(spec).1;
    assert_eq!(told(&json!([])), ["f.yaml: spec: found a list; expected an object"]);
    assert_eq!(
        told(&json!({"podCIDRs": "10.0.0.0/24"})),
        ["f.yaml: spec.podCIDRs: found \"10.0.0.0/24\"; expected a list"]
    );
}

#[test]
fn a_family_has_a_few_blocks_at_most() {
    let v4 = (0..5).map(|number| format!("10.244.{number}.0/24"));
    let all: Vec<String> = v4.chain(["fd00::/64".to_owned()]).collect();
    let (found, faults) = blocks(&json!({"podCIDRs": all}));
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!(faults, ["f.yaml: spec.podCIDRs[4]: is too much; a node has at most 4 blocks of a family"]);
}

/// The addresses of a node with this status, and what was left out.
fn addresses(status: &Value) -> (Vec<String>, Vec<String>) {
    let node = converter().node(&json!({"metadata": {"name": "n1"}, "status": status})).unwrap();
    let addresses = node.addresses.iter().map(ToString::to_string);
    (addresses.collect(), node.faults.iter().map(ToString::to_string).collect())
}

#[test]
fn a_nodes_addresses_are_those_of_its_status() {
    assert_eq!(addresses(&json!(null)), (vec![], vec![]));
    let all = json!({"addresses": [
        {"type": "InternalIP", "address": "172.18.000.002"},
        {"type": "ExternalIP", "address": "::ffff:192.0.2.1"},
        {"type": "InternalIP", "address": "fd00:18::2"},
        {"type": "InternalIP", "address": "172.18.0.2"},
        {"type": "Hostname", "address": "n1"},
        {"type": "Hostname", "address": "198.51.100.7"},
        {"type": "InternalDNS"},
    ]});
    let expected = ["172.18.0.2", "192.0.2.1", "198.51.100.7", "fd00:18::2"];
    assert_eq!(addresses(&all), (expected.map(str::to_owned).to_vec(), vec![]));
}

#[test]
fn addresses_of_a_node_that_are_not_understood_are_left_out() {
    let many = (0..20).map(|number| json!({"type": "InternalIP", "address": format!("10.0.0.{number}")}));
    let (found, faults) = addresses(&json!({"addresses": many.collect::<Vec<_>>()}));
    let told = "f.yaml: status.addresses[16]: is too much; a node has at most 16 addresses";
    assert_eq!((found.len(), faults), (16, vec![told.to_owned()]));
    let (found, faults) = addresses(&json!({"addresses": [{"type": "InternalIP", "address": "n1"}, 7]}));
    assert_eq!(found, [""; 0]);
    assert_eq!(faults, ["f.yaml: status.addresses[0].address: \"n1\" is not an IP address"]);
}
