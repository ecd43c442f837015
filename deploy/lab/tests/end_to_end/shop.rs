//! The objects that most tests with an API server have.

use flock_testkit::{NAMESPACE, NODE, POD};
use serde_json::{Value, json};

use crate::api::Api;
use crate::ground::NODES;

impl Api {
    /// One that has the nodes of a ground and the namespace `shop`, with `web` on n1 and `db` on n2.
    pub(crate) fn with_shop() -> Self {
        let api = Self::start();
        for node in NODES {
            api.put(NODE, json!({ "metadata": { "name": node } }));
        }
        api.put(NAMESPACE, json!({ "metadata": { "name": "shop" } }));
        api.put(POD, pod("web", "n1", "10.1.0.2"));
        api.put(POD, pod("db", "n2", "10.1.0.4"));
        api
    }
}

/// A pod of the shop, with its name as its label `app`.
pub(crate) fn pod(name: &str, node: &str, address: &str) -> Value {
    json!({
        "metadata": { "namespace": "shop", "name": name, "labels": { "app": name } },
        "spec": { "nodeName": node },
        "status": { "phase": "Running", "podIPs": [{ "ip": address }] },
    })
}

/// A policy that lets pods of the app `from` reach all pods of the shop, and nobody else.
pub(crate) fn allow(from: &str) -> Value {
    json!({
        "metadata": { "namespace": "shop", "name": "allow" },
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": [{ "podSelector": { "matchLabels": { "app": from } } }] }],
        },
    })
}
