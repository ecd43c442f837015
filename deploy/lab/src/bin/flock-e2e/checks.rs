//! What is checked: policies, and which flows pass under them. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::cast::{
    API_WEB, CLIENT_API, CLIENT_API_ADMIN, CLIENT_WEB, CLIENT_WEB_ADMIN, CLIENT_WEB_UDP, FLOWS, Flow,
    OTHER_API, OTHER_WEB, OTHER_WEB_UDP, Who,
};

/// Where the pods are.
pub(crate) type Addresses = BTreeMap<Who, Vec<IpAddr>>;

/// What a check does.
pub(crate) enum Kind {
    /// These policies of namespace x, by their specs, let these flows pass and no others.
    Matrix(fn(&Addresses) -> Vec<Value>, &'static [Flow]),
    /// A pod that takes another label is judged by that, without a change of policies.
    Relabel,
    /// By the address of a Service.
    Service,
    /// The kubelet reaches a pod that nobody else may reach.
    Probes,
    /// Pods whose first act is to connect.
    FirstPacket,
}

/// A check.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
}

/// All of them, in the order in which they are made: each begins with what the one before has left, and takes it away.
pub(crate) static CHECKS: [Check; 18] = [
    matrix("open", "without policies everything passes", |_| vec![], &FLOWS),
    matrix("deny-ingress", "isolated, and nothing is allowed", |_| vec![ingress(&json!({}), None)], &[]),
    matrix(
        "allow-pods",
        "pods of the same namespace, by label",
        |_| vec![ingress(&json!({}), Some(&json!([{ "from": [pods("client")] }])))],
        &[CLIENT_WEB, CLIENT_WEB_ADMIN, CLIENT_WEB_UDP, CLIENT_API, CLIENT_API_ADMIN],
    ),
    matrix(
        "allow-namespace",
        "another namespace, by label",
        |_| vec![ingress(&json!({}), Some(&json!([{ "from": [namespaces("y")] }])))],
        &[OTHER_WEB, OTHER_WEB_UDP, OTHER_API],
    ),
    matrix(
        "allow-both",
        "pods by label in namespaces by label, and nobody else",
        |_| {
            let peer = |role: &str| json!({ "from": [merged(&namespaces("y"), &pods(role))] });
            vec![
                ingress(&json!({}), Some(&json!([peer("nobody")]))),
                ingress(&selector("api"), Some(&json!([peer("client")]))),
            ]
        },
        &[OTHER_API],
    ),
    matrix(
        "port",
        "one port by its number",
        |_| vec![ingress(&json!({}), Some(&json!([{ "ports": [{ "port": 8080, "protocol": "TCP" }] }])))],
        &[CLIENT_WEB, OTHER_WEB, API_WEB],
    ),
    matrix(
        "named-port",
        "a port by its name, which is another number in each pod",
        |_| vec![ingress(&json!({}), Some(&json!([{ "ports": [{ "port": "http", "protocol": "TCP" }] }])))],
        &[CLIENT_WEB, OTHER_WEB, API_WEB, CLIENT_API, OTHER_API],
    ),
    matrix(
        "port-range",
        "ports from one to another",
        |_| vec![ingress(&json!({}), Some(&json!([{ "ports": [{ "port": 8080, "endPort": 8081 }] }])))],
        &[CLIENT_WEB, CLIENT_WEB_ADMIN, OTHER_WEB, API_WEB, CLIENT_API_ADMIN],
    ),
    matrix(
        "protocol",
        "UDP, and not TCP of the same number",
        |_| vec![ingress(&json!({}), Some(&json!([{ "ports": [{ "port": 8080, "protocol": "UDP" }] }])))],
        &[CLIENT_WEB_UDP, OTHER_WEB_UDP],
    ),
    matrix(
        "ip-block",
        "one address by its block",
        |all| vec![ingress(&json!({}), Some(&json!([{ "from": blocks_of(all, Who::Other) }])))],
        &[OTHER_WEB, OTHER_WEB_UDP, OTHER_API],
    ),
    matrix(
        "ip-block-except",
        "every address but one pod's",
        |all| vec![ingress(&json!({}), Some(&json!([{ "from": all_but(all, Who::Client) }])))],
        &[OTHER_WEB, OTHER_WEB_UDP, OTHER_API, API_WEB],
    ),
    matrix(
        "deny-egress",
        "a pod that may send nothing",
        |_| vec![egress(&selector("client"), None)],
        &[OTHER_WEB, OTHER_WEB_UDP, OTHER_API, API_WEB],
    ),
    matrix(
        "egress-named-port",
        "to a port by the name that it has where it leads",
        |_| vec![egress(&selector("client"), Some(&json!([{ "ports": [{ "port": "http" }] }])))],
        &[CLIENT_WEB, CLIENT_API, OTHER_WEB, OTHER_WEB_UDP, OTHER_API, API_WEB],
    ),
    matrix(
        "both-ends",
        "what one end allows, the other forbids, on one node and on two",
        |_| {
            let out = egress(&selector("client"), Some(&json!([{ "to": [pods("web")] }])));
            vec![out, ingress(&selector("web"), Some(&json!([{ "from": [namespaces("y")] }])))]
        },
        &[OTHER_WEB, OTHER_WEB_UDP, OTHER_API],
    ),
    Check { name: "relabel", about: "a pod that is given another label", kind: Kind::Relabel },
    Check { name: "service", about: "by the address of a Service", kind: Kind::Service },
    Check { name: "probes", about: "the kubelet reaches a pod that nobody may reach", kind: Kind::Probes },
    Check { name: "first-packet", about: "pods whose first act is to connect", kind: Kind::FirstPacket },
];

const fn matrix(
    name: &'static str,
    about: &'static str,
    policies: fn(&Addresses) -> Vec<Value>,
    pass: &'static [Flow],
) -> Check {
    Check { name, about, kind: Kind::Matrix(policies, pass) }
}

fn selector(role: &str) -> Value {
    json!({ "matchLabels": { "role": role } })
}

fn pods(role: &str) -> Value {
    json!({ "podSelector": selector(role) })
}

fn namespaces(team: &str) -> Value {
    json!({ "namespaceSelector": { "matchLabels": { "team": team } } })
}

fn merged(one: &Value, other: &Value) -> Value {
    let fields = [one, other].into_iter().filter_map(Value::as_object).flatten();
    Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn direction(name: &str, field: &str, selected: &Value, rules: Option<&Value>) -> Value {
    let mut spec = json!({ "podSelector": selected, "policyTypes": [name] });
    if let Some(rules) = rules {
        spec[field] = rules.clone();
    }
    spec
}

/// A policy for what comes in; without rules nothing does.
pub(crate) fn ingress(selected: &Value, rules: Option<&Value>) -> Value {
    direction("Ingress", "ingress", selected, rules)
}

fn egress(selected: &Value, rules: Option<&Value>) -> Value {
    direction("Egress", "egress", selected, rules)
}

/// A policy that lets in those who have this role.
pub(crate) fn only_from(role: &str) -> Value {
    ingress(&json!({}), Some(&json!([{ "from": [pods(role)] }])))
}

fn host(address: &IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

fn blocks_of(all: &Addresses, who: Who) -> Vec<Value> {
    let of = all.get(&who).into_iter().flatten();
    of.map(|address| json!({ "ipBlock": { "cidr": host(address) } })).collect()
}

fn all_but(all: &Addresses, who: Who) -> Vec<Value> {
    let of = all.get(&who).into_iter().flatten();
    of.map(|address| {
        let cidr = if address.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        json!({ "ipBlock": { "cidr": cidr, "except": [host(address)] } })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k8s_openapi::api::networking::v1::NetworkPolicySpec;

    use super::*;

    #[test]
    fn every_policy_is_one_that_kubernetes_knows_and_says_all_that_it_should() {
        let addresses = |last: u8| vec![IpAddr::from([10, 0, 0, last]), "fd00::1".parse().unwrap()];
        let all: Addresses =
            Who::ALL.into_iter().zip(1..).map(|(who, last)| (who, addresses(last))).collect();
        for check in &CHECKS {
            let Kind::Matrix(policies, pass) = &check.kind else { continue };
            for spec in policies(&all) {
                let read: NetworkPolicySpec = serde_json::from_value(spec.clone()).unwrap();
                assert_eq!(serde_json::to_value(&read).unwrap(), spec, "{}", check.name);
            }
            assert!(pass.iter().all(|flow| FLOWS.contains(flow)), "{}", check.name);
        }
    }

    #[test]
    fn names_are_unique_and_something_passes_and_something_does_not() {
        let names: BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        let passing = CHECKS.iter().filter_map(|check| match check.kind {
            Kind::Matrix(_, pass) => Some(pass.iter().copied().collect::<BTreeSet<_>>()),
            _ => None,
        });
        let sets: BTreeSet<_> = passing.collect();
        assert!(sets.len() > 9, "two checks that expect the same tell less");
    }
}
