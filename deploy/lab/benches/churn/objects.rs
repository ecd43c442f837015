//! The cluster that churns, as an API server holds it: 1,000 pods in 20 namespaces, 110 of them on the node, and
//! three policies for each namespace.

use std::net::Ipv4Addr;

use flock_testkit::{Kind, NAMESPACE, NETWORK_POLICY, NODE, POD};
use serde_json::{Value, json};

/// The node that is watched.
pub(crate) const NODE_NAME: &str = "node-0";

const NAMESPACES: u32 = 20;
const PODS: u32 = 1_000;
const LOCAL: u32 = 110;

/// How many policies take turns in changing.
pub(crate) const CHANGING: u32 = 2 * NAMESPACES;

/// All objects before anything changes.
pub(crate) fn all() -> impl Iterator<Item = (Kind, Value)> {
    let nodes = (0..10).map(|number| (NODE, json!({ "metadata": { "name": format!("node-{number}") } })));
    let namespaces = (0..NAMESPACES).map(|number| {
        let labels = json!({ "team": format!("team-{}", number % 5) });
        (NAMESPACE, json!({ "metadata": { "name": namespace(number), "labels": labels } }))
    });
    let pods = (0..PODS).map(|number| {
        let node = if number < LOCAL { 0 } else { 1 + number % 9 };
        (POD, pod(number, node, first_address(number)))
    });
    let fixed = (0..NAMESPACES).map(|number| (NETWORK_POLICY, own_pods(number)));
    let changing = (0..CHANGING).map(|number| (NETWORK_POLICY, office(number, outside(number))));
    nodes.chain(namespaces).chain(pods).chain(fixed).chain(changing)
}

/// The address of one of the first pods.
pub(crate) fn first_address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 1, 0, 1)) + number)
}

/// The address of a pod that comes later: no two have the same.
pub(crate) fn later_address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 77, 0, 1)) + number)
}

/// An address outside the cluster: no two versions of a policy have the same.
pub(crate) fn outside(number: u32) -> Ipv4Addr {
    // Every other one, or nft would write neighbours as one range.
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 2)) + 2 * number)
}

/// The namespace and name of a pod that comes later.
pub(crate) fn later(number: u32) -> (String, String) {
    (namespace(number % NAMESPACES), format!("pod-{}", PODS + number))
}

/// A pod that comes later, on the watched node.
pub(crate) fn later_pod(number: u32) -> Value {
    pod(PODS + number, 0, later_address(number))
}

fn namespace(number: u32) -> String {
    format!("ns-{number}")
}

fn pod(number: u32, node: u32, address: Ipv4Addr) -> Value {
    let app = ["web", "api", "db"].get(number as usize / 20 % 3).unwrap_or(&"web");
    json!({
        "metadata": {
            "namespace": namespace(number % NAMESPACES),
            "name": format!("pod-{number}"),
            "labels": { "app": app },
        },
        "spec": { "nodeName": format!("node-{node}") },
        "status": { "phase": "Running", "podIPs": [{ "ip": address }] },
    })
}

/// Pods of the namespace, and the web pods of a team, on one port.
fn own_pods(number: u32) -> Value {
    json!({
        "metadata": { "namespace": namespace(number), "name": "own-pods" },
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress"],
            "ingress": [
                { "from": [{ "podSelector": {} }] },
                {
                    "from": [{
                        "namespaceSelector": { "matchLabels": { "team": format!("team-{}", number % 5) } },
                        "podSelector": { "matchLabels": { "app": "web" } },
                    }],
                    "ports": [{ "port": 8080 }],
                },
            ],
        },
    })
}

/// An address outside may reach the pods of an app on one port; the policy with a number in its current version.
pub(crate) fn office(number: u32, from: Ipv4Addr) -> Value {
    let app = ["web", "api"].get((number / NAMESPACES) as usize % 2).unwrap_or(&"web");
    json!({
        "metadata": { "namespace": namespace(number % NAMESPACES), "name": format!("office-{app}") },
        "spec": {
            "podSelector": { "matchLabels": { "app": app } },
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{ "ipBlock": { "cidr": format!("{from}/32") } }],
                "ports": [{ "port": 443 }],
            }],
        },
    })
}
