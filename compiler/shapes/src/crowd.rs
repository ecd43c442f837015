//! S2: one namespace, and as many policies that all say the same as it has pods.

use std::sync::Arc;

use flock_compiler_core::object::Node;
use flock_compiler_core::{Labels, Selector};

use crate::Cluster;
use crate::parts::{self, address, namespace_name, object_name, pods_of, policy, rule};

pub(crate) fn cluster(nodes: usize, pods: usize, policies: usize) -> Cluster {
    let nodes: Vec<Node> = (0..nodes).map(parts::node).collect();
    let name = namespace_name("crowd");
    let (key, value): (Arc<str>, Arc<str>) = ("app".into(), "crowd".into());
    let pod = |(number, node): (usize, &Node)| {
        let labels: Labels = [(key.clone(), value.clone())].into_iter().collect();
        parts::pod(&name, &format!("pod-{number}"), Some(node), labels, address(number), &[])
    };
    let open = |number: usize| {
        let all = rule([pods_of(&name, Selector::everything())], []);
        let policy_name = object_name(&format!("policy-{number}"));
        policy(&name, &policy_name, Selector::everything(), Some(vec![all]), None)
    };
    let pods = (0..pods).zip(nodes.iter().cycle()).map(pod).collect();
    let policies = (0..policies).map(open).collect();
    let metadata = ("kubernetes.io/metadata.name".into(), "crowd".into());
    let namespaces = vec![parts::namespace(name.clone(), [metadata])];
    Cluster { nodes, namespaces, pods, policies }
}
