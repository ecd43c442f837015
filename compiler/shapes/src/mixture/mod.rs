//! S3: the largest cluster that Kubernetes promises, with what real ones mix.

mod policies;
mod system;
mod words;

use std::sync::Arc;

use flock_compiler_core::Labels;
use flock_compiler_core::object::{NamedPort, Namespace, Node, Pod};
use flock_shared::NamespaceName;

use crate::dice::Dice;
use crate::parts::{self, Pair, address, namespace_name, object_name};
use crate::{Cluster, Size};

pub(crate) use words::Words;

/// Namespaces in a team, and in a project.
const TEAM: usize = 10;
const PROJECT: usize = 2;
/// How many system pods there are besides the exporters.
const PROMETHEUS: usize = 20;
const GATEWAYS: usize = 40;
const DNS: usize = 5;

/// A tenant's namespace, and the labels that its policies may ask for.
struct Tenant {
    number: usize,
    name: NamespaceName,
    team: Pair,
    project: Pair,
}

pub(crate) fn cluster(size: Size) -> Cluster {
    let words = Words::new();
    let nodes: Vec<Node> = (0..size.nodes).map(parts::node).collect();
    let tenants = tenants(&words, size.namespaces.saturating_sub(system::NAMESPACES));
    let mut namespaces = system::namespaces(&words);
    let mut policies = system::policies(&words);
    for tenant in &tenants {
        let metadata = (words.metadata.clone(), Arc::from(tenant.name.as_str()));
        let stage = if tenant.number.is_multiple_of(3) { &words.test } else { &words.production };
        let labels = [metadata, tenant.team.clone(), tenant.project.clone(), stage.clone()];
        namespaces.push(parts::namespace(tenant.name.clone(), labels));
    }
    let left = size.policies.saturating_sub(policies.len());
    for (round, tenant) in tenants.iter().cycle().take(left).enumerate() {
        let name = match round / tenants.len() {
            0 => words.own_policy.clone(),
            again => object_name(&format!("policy-{again}")),
        };
        policies.push(policies::of(&words, tenant, &name));
    }
    let pods = pods(&words, &nodes, &namespaces, &tenants, size.pods);
    Cluster { nodes, namespaces, pods, policies }
}

fn tenants(words: &Words, count: usize) -> Vec<Tenant> {
    let (mut team, mut project) = (words.team(0), words.project(0));
    let tenant = |number: usize| {
        // Neighbours share the strings of their labels.
        if number.is_multiple_of(TEAM) {
            team = words.team(number / TEAM);
        }
        if number.is_multiple_of(PROJECT) {
            project = words.project(number / PROJECT);
        }
        let name = namespace_name(&format!("tenant-{number}"));
        Tenant { number, name, team: team.clone(), project: project.clone() }
    };
    (0..count).map(tenant).collect()
}

fn pods(
    words: &Words,
    nodes: &[Node],
    namespaces: &[Namespace],
    tenants: &[Tenant],
    count: usize,
) -> Vec<Pod> {
    let mut dice = Dice::new(3);
    let mut pods: Vec<Pod> = Vec::with_capacity(count);
    let mut add =
        |namespace: &NamespaceName, name: &str, node: Option<&Node>, labels: Labels, ports: &[NamedPort]| {
            let pod = parts::pod(namespace, name, node, labels, address(pods.len()), ports);
            pods.push(pod);
        };
    let mut system = system::pods(words, namespaces);
    for (number, node) in nodes.iter().enumerate() {
        let exporter = &system.exporter;
        add(
            &exporter.namespace,
            &format!("{}-{number}", exporter.app.1),
            Some(node),
            exporter.labels(),
            &exporter.ports,
        );
    }
    for (kind, how_many) in system.others.iter_mut().zip([PROMETHEUS, GATEWAYS, DNS]) {
        for number in 0..how_many {
            let name = format!("{}-{number}", kind.app.1);
            add(&kind.namespace, &name, dice.pick(nodes), kind.labels(), &kind.ports);
        }
    }
    let left = count.saturating_sub(nodes.len() + PROMETHEUS + GATEWAYS + DNS);
    let per_round = tenants.len().max(1);
    for (index, tenant) in tenants.iter().cycle().take(left).enumerate() {
        let round = index / per_round;
        let app = words.app_of(round);
        let version = words.versions.get(tenant.number % words.versions.len()).unwrap_or(&words.production);
        let labels: Labels = [app.clone(), version.clone()].into_iter().collect();
        let name = format!("{}-{round}", app.1);
        add(&tenant.name, &name, dice.pick(nodes), labels, words.ports_of(round, tenant.number));
    }
    pods
}
