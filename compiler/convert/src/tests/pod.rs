//! Pods.

use flock_compiler_core::sorted::Sorted;

use flock_compiler_core::object::{HostInterface, Lifecycle, NamedPort, PodNetwork, PortName, UnixTime};
use flock_compiler_core::port::Protocol;
use serde_json::{Value, json};

use super::pod;
use crate::Converter;

#[test]
fn a_pod_is_trimmed_to_what_translation_needs() {
    let pod = pod(&json!({
        "metadata": {
            "name": "web-0", "namespace": "shop", "labels": {"app": "web"}, "uid": "x",
            "managedFields": [{"fieldsV1": {"f:spec": {}}}],
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "c", "image": "i", "ports": [
                {"name": "http", "containerPort": 8080, "protocol": "TCP"},
                {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                {"containerPort": 9090},
            ]}],
            "initContainers": [
                {"name": "sidecar", "restartPolicy": "Always", "ports": [{"name": "http", "containerPort": 15001}]},
                {"name": "init", "ports": [{"name": "gone", "containerPort": 1}]},
            ],
        },
        "status": {"phase": "Running", "podIP": "10.0.0.5", "podIPs": [{"ip": "10.0.0.5"}, {"ip": "fd00::5"}]},
    }));
    assert_eq!(pod.key.to_string(), "shop/web-0");
    assert_eq!(pod.node.as_ref().map(ToString::to_string).as_deref(), Some("node-1"));
    assert_eq!(pod.labels.get("app"), Some("web"));
    assert_eq!(pod.lifecycle, Lifecycle::Live);
    assert_eq!(
        pod.addresses(),
        Some(&Sorted::from(["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()]))
    );
    let port = |name, protocol, number| NamedPort { name: PortName::new(name), protocol, number };
    assert_eq!(
        pod.ports,
        Sorted::from([
            port("http", Protocol::Tcp, 8080),
            port("dns", Protocol::Udp, 53),
            port("http", Protocol::Tcp, 15001)
        ])
    );
    assert_eq!(pod.faults, []);
}

#[test]
fn a_pod_on_its_way_has_no_node_and_no_address() {
    let pod = pod(
        &json!({"metadata": {"name": "a"}, "spec": {"nodeName": ""}, "status": {"podIP": "", "podIPs": null}}),
    );
    assert_eq!(pod.key.to_string(), "default/a");
    assert_eq!((pod.node.is_none(), pod.addresses()), (true, Some(&Sorted::new())));
    assert_eq!(pod.faults, []);
}

#[test]
fn the_phase_and_the_deletion_timestamp_make_the_lifecycle() {
    let lifecycle = |phase: &str, deleted: Value| {
        pod(&json!({"metadata": {"name": "a", "deletionTimestamp": deleted}, "status": {"phase": phase}}))
            .lifecycle
    };
    assert_eq!(lifecycle("Running", Value::Null), Lifecycle::Live);
    assert_eq!(lifecycle("Running", json!("2026-01-01T00:00:00Z")), Lifecycle::Deleting);
    assert_eq!(lifecycle("Failed", Value::Null), Lifecycle::Finished);
    assert_eq!(lifecycle("Succeeded", json!("2026-01-01T00:00:00Z")), Lifecycle::Finished);
}

#[test]
fn a_host_network_pod_owns_nothing() {
    let pod = pod(&json!({
        "metadata": {"name": "a"}, "spec": {"hostNetwork": true}, "status": {"podIP": "not an address"},
    }));
    assert_eq!(pod.network, PodNetwork::Host);
    assert_eq!(pod.faults, []);
}

#[test]
fn what_a_pod_does_not_state_clearly_is_left_out_and_told() {
    let pod = pod(&json!({
        "metadata": {"name": "a"},
        "spec": {"containers": [{"ports": [
            {"name": "zero", "containerPort": 0},
            {"name": "high", "containerPort": 70000},
            {"name": "none"},
            {"name": "icmp", "containerPort": 1, "protocol": "ICMP"},
            {"name": "good", "containerPort": 1},
        ]}]},
        "status": {"podIP": "10.0.0.256", "podIPs": [{"ip": "::ffff:10.0.0.1/128"}, {"ip": 7}, "x", {"ip": "10.0.0.1"}]},
    }));
    assert_eq!(pod.addresses().map(|addresses| addresses.len()), Some(1));
    assert_eq!(pod.ports.len(), 1);
    let faults: Vec<String> = pod.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "f.yaml: status.podIPs[0].ip: \"::ffff:10.0.0.1/128\" is not an IP address",
            "f.yaml: status.podIPs[1].ip: found 7; expected a string",
            "f.yaml: status.podIPs[2]: found \"x\"; expected an object",
            "f.yaml: status.podIP: \"10.0.0.256\" is not an IP address",
            "f.yaml: spec.containers[0].ports[0].containerPort: found 0; expected a port number from 1 to 65535",
            "f.yaml: spec.containers[0].ports[1].containerPort: found 70000; expected a port number from 1 to 65535",
            "f.yaml: spec.containers[0].ports[2].containerPort: is missing; expected a port number from 1 to 65535",
            "f.yaml: spec.containers[0].ports[3].protocol: \"ICMP\" is not a protocol; expected TCP, UDP or SCTP",
        ]
    );
}

/// Whoever reads the API by Kubernetes' own parsers routes to these, so the pod owns them.
#[test]
fn an_address_in_legacy_notation_is_the_address_that_it_means() {
    for (status, expected) in [
        (json!({"podIP": "10.244.001.010"}), vec!["10.244.1.10"]),
        (json!({"podIP": "::ffff:10.244.1.10"}), vec!["10.244.1.10"]),
        (json!({"podIPs": [{"ip": "::ffff:0af4:010a"}]}), vec!["10.244.1.10"]),
        (json!({"podIP": "10.244.1.10", "podIPs": [{"ip": "10.244.001.010"}]}), vec!["10.244.1.10"]),
        (
            json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.2"}, {"ip": "fd00::0007"}]}),
            vec!["10.0.0.1", "10.0.0.2", "fd00::7"],
        ),
    ] {
        let pod = pod(&json!({"metadata": {"name": "a"}, "status": status}));
        let addresses: Vec<String> = pod.addresses().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            (addresses, &*pod.faults),
            (expected.into_iter().map(str::to_owned).collect(), &[][..]),
            "{status}"
        );
    }
}

#[test]
fn interfaces_come_from_a_hash_or_from_an_annotation() {
    let value = |interface: &str| json!({"metadata": {"name": "coredns-1", "namespace": "kube-system", "annotations": {"x/veth": interface}}});
    let interface = |option: &str, text: &str| {
        let pod = Converter::new("f", option.parse().unwrap()).pod(&value(text)).unwrap();
        let PodNetwork::Own { interface, .. } = pod.network else { panic!("{:?}", pod.network) };
        (interface, pod.faults.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(interface("none", "veth1"), (None, vec![]));
    let computed = HostInterface::Computed("cali5adc4ab58e2".parse().unwrap());
    assert_eq!(interface("sha1:cali", "veth1"), (Some(computed), vec![]));
    let claimed = HostInterface::Claimed("veth1".parse().unwrap());
    assert_eq!(interface("annotation:x/veth", "veth1"), (Some(claimed), vec![]));
    assert_eq!(interface("annotation:x/other", "veth1"), (None, vec![]));
    for (hostile, told) in [("a\" accept", "\"a\\\" accept\""), ("a\nb", "\"a\\nb\""), ("a*", "\"a*\"")] {
        let message = format!(
            "f: metadata.annotations[\"x/veth\"]: {told} is not an interface name: expected 1 to 15 of A-Z a-z 0-9 . _ -"
        );
        assert_eq!(interface("annotation:x/veth", hostile), (None, vec![message]));
    }
}

#[test]
fn a_pod_on_its_way_was_bound_at_some_time() {
    let scheduled = |node: &str, address: &str, conditions: Value| {
        pod(&json!({
            "metadata": {"name": "web-0", "namespace": "shop"},
            "spec": {"nodeName": node},
            "status": {"podIP": address, "conditions": conditions},
        }))
        .scheduled
    };
    let at = |time: Value| {
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2000-01-01T00:00:00Z"});
        json!([ready, {"type": "PodScheduled", "status": "True", "lastTransitionTime": time}])
    };
    let time = at(json!("2024-02-29T12:00:01Z"));
    assert_eq!(scheduled("n1", "", time.clone()), UnixTime::new(1_709_208_001));
    assert_eq!(scheduled("n1", "", at(json!("2024-02-29T13:00:01.9+01:00"))), UnixTime::new(1_709_208_001));
    assert_eq!(scheduled("n1", "10.0.0.1", time.clone()), None, "it has arrived");
    assert_eq!(scheduled("", "", time), None, "it is not bound");
    for odd in [json!(null), json!(7), json!("yesterday"), json!("1960-01-01T00:00:00Z"), json!({})] {
        assert_eq!(scheduled("n1", "", at(odd.clone())), None, "{odd}");
    }
    for odd in [json!([]), json!({}), json!([7]), json!([{"type": "PodScheduled", "status": "False"}])] {
        assert_eq!(scheduled("n1", "", odd.clone()), None, "{odd}");
    }
}
