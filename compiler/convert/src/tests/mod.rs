//! Objects as the API writes them, and what the core makes of them.

mod metadata;
mod node;
mod node_pods;
mod object;
mod pod;
mod policy;
mod policy_faults;
mod workload;

use serde_json::{Value, json};

use super::*;

fn converter() -> Converter {
    Converter::new("f.yaml", HostInterfaces::None)
}

fn pod(value: &Value) -> Pod {
    converter().pod(value).unwrap()
}

/// A policy with this spec.
fn policy(spec: &Value) -> Policy {
    let value = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": "web"}, "spec": spec,
    });
    converter().policy(&value).unwrap()
}
