//! Objects as a cluster would have them.

use serde_json::{Value, json};

pub(super) fn namespace(name: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": { "kubernetes.io/metadata.name": name } } })
}

pub(super) fn node(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "status": { "nodeInfo": { "kernelVersion": "6.1.0" } } })
}

/// A pod whose address is `10.0.0.LAST`. The annotation has characters of several bytes, to be cut in two.
pub(super) fn pod(namespace: &str, name: &str, last: u8) -> Value {
    json!({
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": { "app": name },
            "annotations": { "note": "häßlich – 漢字" },
        },
        "spec": {
            "nodeName": "n1",
            "containers": [{ "name": "c", "ports": [{ "name": "http", "containerPort": 8080 }] }],
        },
        "status": { "phase": "Running", "podIPs": [{ "ip": format!("10.0.0.{last}") }] },
    })
}

pub(super) fn policy(namespace: &str, name: &str, app: &str) -> Value {
    json!({
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "podSelector": { "matchLabels": { "app": app } },
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": [{ "podSelector": {} }], "ports": [{ "port": "http" }] }],
        },
    })
}

/// What CNI did on a node: one sandbox with the address `10.0.0.LAST`.
pub(super) fn node_pods(node: &str, last: u8) -> Value {
    let sandbox = json!({
        "id": "c1", "namespace": "a", "name": "p1", "uid": "u1",
        "addresses": [format!("10.0.0.{last}")], "interface": "veth1",
    });
    json!({ "metadata": { "name": node }, "spec": { "sandboxes": [sandbox] } })
}
