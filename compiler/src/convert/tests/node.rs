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
    ] {
        assert_eq!(blocks(&spec), (expected.into_iter().map(str::to_owned).collect(), vec![]), "{spec}");
    }
}

#[test]
fn a_node_whose_blocks_are_not_understood_is_still_a_node() {
    let (found, faults) = blocks(&json!({"podCIDRs": [
        "10.244.1.0/33", "0.0.0.0/0", "::ffff:10.0.0.0/120", 7, "10.244.1.0/24", "10.0.0.1",
    ]}));
    assert_eq!(found, ["10.244.1.0/24"]);
    assert_eq!(
        faults,
        [
            "f.yaml: spec.podCIDRs[0]: \"10.244.1.0/33\" is not a CIDR block such as 10.0.0.0/8 or fd00::/64",
            "f.yaml: spec.podCIDRs[1]: 0.0.0.0/0 is every address of its family; expected the block of one node",
            "f.yaml: spec.podCIDRs[2]: \"::ffff:10.0.0.0/120\" is IPv4-mapped IPv6; expected the IPv4 block",
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
