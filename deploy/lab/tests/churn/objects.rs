//! The objects of a cluster as an API server holds them.

use serde_json::{Value, json};

use flock_model::oracle::cluster::{
    Direction, Labels, Namespace, Net, Node, Operator, Peer, Phase, Pod, Policy, PolicySpec, Port,
    PortNumber, Protocol, Rule, Selector,
};

pub(crate) fn node(node: &Node) -> Value {
    let blocks: Vec<String> = node.pod_cidrs.iter().map(net).collect();
    json!({ "metadata": { "name": node.name }, "spec": { "podCIDRs": blocks } })
}

pub(crate) fn namespace(namespace: &Namespace) -> Value {
    json!({ "metadata": { "name": namespace.name, "labels": labels(&namespace.labels) } })
}

pub(crate) fn pod(pod: &Pod) -> Value {
    let ports: Vec<Value> = pod
        .ports
        .iter()
        .map(|port| {
            let protocol = protocol(port.protocol);
            json!({ "name": port.name, "protocol": protocol, "containerPort": port.number })
        })
        .collect();
    let addresses: Vec<Value> = pod.addresses.iter().map(|address| json!({ "ip": address })).collect();
    let phase = match pod.phase {
        Phase::Running => "Running",
        Phase::Pending => "Pending",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
    };
    let mut object = json!({
        "metadata": { "namespace": pod.namespace, "name": pod.name, "labels": labels(&pod.labels) },
        "spec": {
            "nodeName": pod.node,
            "hostNetwork": pod.host_network,
            "containers": [{ "name": "main", "ports": ports }],
        },
        "status": { "phase": phase, "podIPs": addresses },
    });
    if pod.deleting {
        object["metadata"]["deletionTimestamp"] = "2025-01-01T00:00:30Z".into();
    }
    object
}

pub(crate) fn policy(policy: &Policy) -> Value {
    let mut spec = json!({ "podSelector": selector(&policy.pod_selector) });
    match &policy.spec {
        PolicySpec::NotUnderstood { types } => {
            spec["policyTypes"] = json!(words(types));
            spec["ofTheFuture"] = json!(true);
        }
        PolicySpec::Understood { types, ingress, egress } => {
            if let Some(types) = types {
                spec["policyTypes"] = json!(words(types));
            }
            for (direction, peers, rules) in [("ingress", "from", ingress), ("egress", "to", egress)] {
                if let Some(rules) = rules {
                    spec[direction] = rules.iter().map(|one| rule(one, peers)).collect();
                }
            }
        }
    }
    json!({ "metadata": { "namespace": policy.namespace, "name": policy.name }, "spec": spec })
}

fn words(types: &[Direction]) -> Vec<&'static str> {
    let word = |direction: &Direction| match direction {
        Direction::Ingress => "Ingress",
        Direction::Egress => "Egress",
    };
    types.iter().map(word).collect()
}

fn rule(rule: &Rule, peers_field: &str) -> Value {
    let mut object = json!({});
    if let Some(peers) = &rule.peers {
        object[peers_field] = peers.iter().map(peer).collect();
    }
    if let Some(ports) = &rule.ports {
        object["ports"] = ports.iter().map(port).collect();
    }
    object
}

fn peer(peer: &Peer) -> Value {
    match peer {
        Peer::Pods { pods, namespaces } => {
            let mut object = json!({});
            for (field, given) in [("podSelector", pods), ("namespaceSelector", namespaces)] {
                if let Some(given) = given {
                    object[field] = selector(given);
                }
            }
            object
        }
        Peer::Block { cidr, except } => {
            let except: Vec<String> = except.iter().map(net).collect();
            json!({ "ipBlock": { "cidr": net(cidr), "except": except } })
        }
    }
}

fn port(port: &Port) -> Value {
    let mut object = json!({ "protocol": protocol(port.protocol) });
    match port.port {
        PortNumber::All => {}
        PortNumber::Number(number) => object["port"] = json!(number),
        PortNumber::Range(first, last) => {
            object["port"] = json!(first);
            object["endPort"] = json!(last);
        }
        PortNumber::Name(name) => object["port"] = json!(name),
    }
    object
}

const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}

fn net(net: &Net) -> String {
    format!("{}/{}", net.address, net.prefix)
}

fn labels(labels: &Labels) -> Value {
    labels.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect()
}

fn selector(selector: &Selector) -> Value {
    let expressions: Vec<Value> = selector
        .match_expressions
        .iter()
        .map(|expression| {
            let operator = match expression.operator {
                Operator::In => "In",
                Operator::NotIn => "NotIn",
                Operator::Exists => "Exists",
                Operator::DoesNotExist => "DoesNotExist",
            };
            let mut object = json!({ "key": expression.key, "operator": operator });
            if !expression.values.is_empty() {
                object["values"] = json!(expression.values);
            }
            object
        })
        .collect();
    json!({ "matchLabels": labels(&selector.match_labels), "matchExpressions": expressions })
}
