//! S1: many small tenants that keep to themselves.

use std::sync::Arc;

use flock_compiler_core::object::{Namespace, Node, Pod, Policy};
use flock_compiler_core::{Labels, Selector};

use crate::Cluster;
use crate::dice::Dice;
use crate::parts::{
    self, Pair, address, block, is_in, labelled, namespace_name, object_name, pods_of, policy, rule, tcp,
};

/// The pods of a namespace, by their label `app`.
const APPS: [&str; 4] = ["web", "web", "api", "db"];

pub(crate) fn cluster(nodes: usize, namespaces: usize) -> Cluster {
    let nodes: Vec<Node> = (0..nodes).map(parts::node).collect();
    let mut dice = Dice::new(1);
    let key: Arc<str> = "app".into();
    let [web, api, db]: [Pair; 3] = ["web", "api", "db"].map(|app| (key.clone(), app.into()));
    let [deny, front, back] = ["default-deny", "web", "backend"].map(object_name);
    let metadata: Arc<str> = "kubernetes.io/metadata.name".into();
    let internet = block(([0, 0, 0, 0], 0), &[([10, 0, 0, 0], 8)]);

    let mut cluster =
        Cluster { nodes: Vec::new(), namespaces: Vec::new(), pods: Vec::new(), policies: Vec::new() };
    for number in 0..namespaces {
        let text: Arc<str> = format!("tenant-{number}").into();
        let name = namespace_name(&text);
        for (index, app) in APPS.iter().enumerate() {
            let label = match *app {
                "web" => &web,
                "api" => &api,
                _ => &db,
            };
            let labels: Labels = [label.clone()].into_iter().collect();
            let address = address(cluster.pods.len());
            let pod: Pod =
                parts::pod(&name, &format!("{app}-{index}"), dice.pick(&nodes), labels, address, &[]);
            cluster.pods.push(pod);
        }
        let own = || pods_of(&name, Selector::everything());
        let policies: [Policy; 3] = [
            policy(&name, &deny, Selector::everything(), Some(Vec::new()), Some(Vec::new())),
            policy(
                &name,
                &front,
                labelled([&web]),
                Some(vec![rule([], [tcp(8080), tcp(8443)])]),
                Some(vec![rule([pods_of(&name, labelled([&api]))], [tcp(9090)])]),
            ),
            policy(
                &name,
                &back,
                [is_in(&key, [&api.1, &db.1])].into_iter().collect(),
                Some(vec![rule([own()], [tcp(9090), tcp(5432)])]),
                Some(vec![rule([own()], []), rule([internet.clone()], [tcp(443)])]),
            ),
        ];
        cluster.policies.extend(policies);
        let namespace: Namespace = parts::namespace(name, [(metadata.clone(), text)]);
        cluster.namespaces.push(namespace);
    }
    Cluster { nodes, ..cluster }
}
