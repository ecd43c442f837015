//! What a user should mend, kept as objects come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flock_shared::{NamespaceName, NodeName, PodKey, PolicyKey};

use super::Translator;
use super::budget::OverBudget;
use super::cluster::Cluster;
use super::follow::rules;
use super::groups::{Group, Outcome};
use crate::object::{Node, Pod, Policy};
use crate::problem::{self, Problem};

/// The objects with fields that were not understood.
#[derive(Debug, Default)]
pub(super) struct Faulty {
    nodes: BTreeMap<NodeName, Arc<Node>>,
    pods: BTreeMap<PodKey, Arc<Pod>>,
    policies: BTreeMap<PolicyKey, Arc<Policy>>,
}

impl Faulty {
    /// Follows a node; whether it has or had faults.
    pub(super) fn node(&mut self, before: Option<&Arc<Node>>, after: Option<&Arc<Node>>) -> bool {
        let [before, after] = [before, after].map(|node| node.filter(|node| !node.faults.is_empty()));
        before.iter().for_each(|node| _ = self.nodes.remove(&node.name));
        after.iter().for_each(|node| _ = self.nodes.insert(node.name.clone(), Arc::clone(node)));
        before.is_some() || after.is_some()
    }

    pub(super) fn pod(&mut self, key: PodKey, pod: Option<&Arc<Pod>>) {
        match pod.filter(|pod| !pod.faults.is_empty()) {
            Some(pod) => drop(self.pods.insert(key, Arc::clone(pod))),
            None => drop(self.pods.remove(&key)),
        }
    }

    pub(super) fn policy(&mut self, key: PolicyKey, policy: Option<&Arc<Policy>>) {
        match policy.filter(|policy| !policy.faults().is_empty()) {
            Some(policy) => drop(self.policies.insert(key, Arc::clone(policy))),
            None => drop(self.policies.remove(&key)),
        }
    }

    /// The problems of each object by itself.
    pub(super) fn of_objects(&self) -> Vec<Problem> {
        let policies = self.policies.values().flat_map(|policy| problem::of_policy(policy));
        let nodes = self.nodes.values().flat_map(|node| problem::of_node(node));
        policies.chain(self.pods.values().flat_map(|pod| problem::of_pod(pod))).chain(nodes).collect()
    }
}

/// The problems between objects: contested addresses.
pub(super) fn between(cluster: &Cluster) -> impl Iterator<Item = Problem> {
    cluster.contested().flat_map(|(address, owners)| {
        let owners = owners.iter().filter_map(|id| cluster.pod(*id));
        let keys: Vec<&PodKey> = owners.map(|entry| &entry.pod.key).collect();
        problem::contested(address, &keys)
    })
}

/// The policies of groups that went over a budget, by namespace.
pub(super) fn over_budget(translator: &Translator) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !translator.any_over_budget() {
        return problems;
    }
    for (id, group) in translator.groups.iter() {
        let Some(over) = over(translator, group) else { continue };
        let Some((direction, group_rules)) = translator.groups.rules(id) else { continue };
        let pods = group.pods.iter().filter_map(|pod| translator.cluster.pod(pod));
        let namespaces: BTreeSet<&NamespaceName> = pods.map(|entry| &entry.pod.key.namespace).collect();
        for namespace in namespaces {
            let policies = policies_of(translator, namespace).filter(|policy| {
                let rules = rules(policy, direction).and_then(|rules| translator.subjects.find(&rules));
                rules.is_some_and(|rules| group_rules.contains(&rules))
            });
            problems.push(over.problem(direction, policies));
        }
    }
    problems.sort_unstable();
    problems.dedup();
    problems
}

/// The policies of a namespace, by name.
fn policies_of<'a>(
    translator: &'a Translator,
    namespace: &'a NamespaceName,
) -> impl Iterator<Item = &'a Policy> {
    // No name comes before it.
    let first = PolicyKey::new(namespace.as_str(), "0");
    let from = first.into_iter().flat_map(|first| translator.world.policies().range(first..));
    from.take_while(|(key, _)| key.namespace == *namespace).map(|(_, policy)| &**policy)
}

fn over(translator: &Translator, group: &Group) -> Option<OverBudget> {
    match group.outcome {
        Outcome::Open => None,
        Outcome::Closed(over) => over,
        Outcome::Rules(id) => translator.parts.rule_sets.get(id)?.value.over,
    }
}
