//! What a user should mend, kept as objects come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use flock_shared::{NamespaceName, NodeName, PodKey, PolicyKey};

use super::indexes::{Indexes, rules};
use crate::collections::ids::{NamespaceId, PodId, RulesId};
use crate::judge;
use crate::object::{Direction, Facts, Node, Pod, Policy};
use crate::problem::{self, Consequence, Problem};
use crate::translate::budget::load::{Load, LoadKind};
use crate::translate::budget::{self, OverBudget};
use crate::translate::index::cluster::Cluster;
use crate::translate::rules::applied_to::{AppliedToGroup, Outcome};
use crate::world::World;

/// The objects with fields that were not understood.
#[derive(Debug, Default)]
pub(super) struct Faulty {
    nodes: BTreeMap<NodeName, Arc<Node>>,
    pods: BTreeMap<PodKey, Arc<Pod>>,
    policies: BTreeMap<PolicyKey, Arc<Policy>>,
    /// The problems of what CNI did on nodes, by node; none is empty.
    node_pods: BTreeMap<NodeName, Vec<Problem>>,
}

impl Faulty {
    /// Follows a node. Returns true if it has or had faults.
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

    /// Looks at what CNI did on a node, or at the blocks of that node, anew. Returns true if there are or were problems.
    pub(super) fn node_pods(&mut self, node: &NodeName, world: &World) -> bool {
        let object = world.node_pods().get(node);
        let found = object.map(|object| problem::of_node_pods(node, object, world.disbelieved(node)));
        let before = self.node_pods.remove(node).is_some();
        match found.filter(|found| !found.is_empty()) {
            Some(found) => self.node_pods.insert(node.clone(), found).is_none(),
            None => before,
        }
    }

    /// The problems of each object by itself.
    pub(super) fn of_objects(&self) -> Vec<Problem> {
        let policies = self.policies.values().flat_map(|policy| problem::of_policy(policy));
        let nodes = self.nodes.values().flat_map(|node| problem::of_node(node));
        let pods = self.pods.values().flat_map(|pod| problem::of_pod(pod));
        let node_pods = self.node_pods.values().flatten().cloned();
        policies.chain(pods).chain(nodes).chain(node_pods).collect()
    }
}

/// All problems, in order.
pub(super) fn of(indexes: &Indexes, world: &World) -> Vec<Problem> {
    let mut problems = indexes.problems.of_objects();
    problems.extend(between(&indexes.cluster));
    problems.extend(of_facts(&indexes.cluster, world));
    problems.extend(groups_over_budget(indexes, world));
    problems.extend(namespaces_over_budget(indexes));
    problems.extend(problem::of_overdue(world.overdue()));
    bounded(problems)
}

/// The problems between objects: contested addresses.
fn between(cluster: &Cluster) -> impl Iterator<Item = Problem> {
    cluster.contested().flat_map(|(address, owners)| {
        let owners = owners.iter().filter_map(|id| cluster.pod(*id));
        let keys: Vec<&PodKey> = owners.map(|entry| &entry.pod.key).collect();
        problem::contested(address, &keys)
    })
}

/// What the facts of nodes of the cluster come to.
fn of_facts(cluster: &Cluster, world: &World) -> Vec<Problem> {
    let of = |facts: &Facts| {
        let output = cluster.node(cluster.node_id(&facts.node)?)?.output.as_ref()?;
        Some(problem::of_facts(facts, &output.node_rules().links.pod_bridges))
    };
    world.facts().values().filter_map(|facts| of(facts)).flatten().collect()
}

/// The namespaces that are over budget.
fn namespaces_over_budget(indexes: &Indexes) -> Vec<Problem> {
    let Indexes { cluster, policies, groups, rule_sets, budgets, .. } = indexes;
    let tried = policies.over();
    let tried = tried.map(|(namespace, over, tries)| (namespace, over, (tries, budgets.tries)));
    let all = tried.chain(groups.budgets.all_over(budgets)).chain(rule_sets.namespaces_over());
    // As of the last pass: namespaces may be gone since.
    let all = all.filter_map(|(namespace, over, figures)| {
        Some(budget::of_namespace(over, &cluster.namespaces.get(namespace)?.name, figures))
    });
    all.chain(closed_on_nodes(cluster, &budgets.node)).collect()
}

/// The namespaces that are closed on nodes whose tables would be too large.
fn closed_on_nodes(cluster: &Cluster, budget: &Load) -> Vec<Problem> {
    let mut nodes: BTreeMap<&NamespaceName, ((&NodeName, LoadKind), usize)> = BTreeMap::new();
    for (_, node) in cluster.nodes() {
        for (id, over) in &node.closed {
            let Some(namespace) = cluster.namespaces.get(*id) else { continue };
            let (first, count) = nodes.entry(&namespace.name).or_insert(((&node.name, *over), 0));
            // The first by name, for ids depend on what came first.
            *first = (*first).min((&node.name, *over));
            *count += 1;
        }
    }
    let problem = |(namespace, (first, count))| budget::on_nodes(namespace, first, count, budget);
    nodes.into_iter().map(problem).collect()
}

/// The policies of groups that went over a budget by themselves.
fn groups_over_budget(indexes: &Indexes, world: &World) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !indexes.any_over_budget() {
        return problems;
    }
    let mut groups: BTreeMap<NamespaceId, Vec<(OverBudget, &AppliedToGroup)>> = BTreeMap::new();
    for (_, group) in indexes.groups.iter() {
        if let Some(over) = over(indexes, group).filter(|over| !over.is_of_namespace()) {
            groups.entry(group.namespace()).or_default().push((over, group));
        }
    }
    for (namespace, groups) in groups {
        let Some(entry) = indexes.cluster.namespaces.get(namespace) else { continue };
        let sayers = sayers(indexes, world, &entry.name);
        for (over, group) in groups {
            let direction = group.direction();
            let said = || group.matched().rules().filter_map(|rules| sayers.get(&(direction, rules)));
            let first = said().filter_map(|policies| policies.first()).min().copied();
            let count = said().map(Vec::len).sum();
            problems.push(budget::of_group(over, direction, first, count));
        }
    }
    problems.sort_unstable();
    problems.dedup();
    problems
}

/// The pods that are closed because their policies cost more than is allowed.
pub(super) fn pods_over_budget(indexes: &Indexes) -> judge::PodsOverBudget {
    let Indexes { cluster, groups, .. } = indexes;
    let mut found: Vec<(PodKey, Direction)> = Vec::new();
    let mut closed = |pod: PodId, direction| {
        found.extend(cluster.pod(pod).map(|entry| (entry.pod.key.clone(), direction)));
    };
    if indexes.any_over_budget() {
        let is_over =
            |group: &&AppliedToGroup| over(indexes, group).is_some() || is_namespace_over(indexes, group);
        for group in groups.iter().map(|(_, group)| group).filter(is_over) {
            group.pods.iter().for_each(|pod| closed(pod, group.direction()));
        }
    }
    for (_, node) in cluster.nodes().filter(|(_, node)| !node.closed.is_empty()) {
        let pods = node.pods.iter().filter_map(|id| Some((id, cluster.pod(id)?)));
        for (id, entry) in pods.filter(|(_, entry)| node.closed.contains_key(&entry.namespace)) {
            for direction in Direction::ALL {
                let group = entry.group(direction).and_then(|group| groups.get(group));
                if group.is_some_and(|group| matches!(group.outcome, Outcome::Rules(_))) {
                    closed(id, direction);
                }
            }
        }
    }
    found.into_iter().collect()
}

/// Returns true if a group has rules of a namespace whose rules look up too much.
fn is_namespace_over(indexes: &Indexes, group: &AppliedToGroup) -> bool {
    matches!(group.outcome, Outcome::Rules(_)) && indexes.rule_sets.is_namespace_over(group.namespace())
}

/// The policies of a namespace by the rules that they have in a direction, each list in order.
fn sayers<'a>(
    indexes: &Indexes,
    world: &'a World,
    namespace: &'a NamespaceName,
) -> BTreeMap<(Direction, RulesId), Vec<&'a PolicyKey>> {
    // No name comes before it.
    let first = PolicyKey::new(namespace.as_str(), "0");
    let from = first.into_iter().flat_map(|first| world.policies().range(first..));
    let policies = from.take_while(|(key, _)| key.namespace == *namespace).map(|(_, policy)| &**policy);
    let mut found: BTreeMap<(Direction, RulesId), Vec<&PolicyKey>> = BTreeMap::new();
    for policy in policies {
        for direction in Direction::ALL {
            let rules = rules(policy, direction).and_then(|rules| indexes.policies.find(&rules));
            rules
                .into_iter()
                .for_each(|rules| found.entry((direction, rules)).or_default().push(&policy.key));
        }
    }
    found
}

/// So many problems of the objects of one namespace are listed: a tenant that has more of them would fill everybody's
/// memory and lists with them.
const LISTED: usize = 100;

/// The problems in order, and no more than [`LISTED`] of each namespace; how many are left out is one more.
fn bounded(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_unstable();
    let mut counts: BTreeMap<NamespaceName, usize> = BTreeMap::new();
    problems.retain(|problem| match &problem.namespace {
        // What a whole namespace comes to, and what is in none, is always told.
        Some(namespace) if problem.consequence != Consequence::NamespaceIsolated => {
            let count = counts.entry(namespace.clone()).or_default();
            *count += 1;
            *count <= LISTED
        }
        _ => true,
    });
    let more = counts.into_iter().filter(|(_, count)| *count > LISTED);
    problems.extend(more.map(|(namespace, count)| {
        let message = format!("{} more problems of its objects are not listed", count - LISTED);
        Problem::of_namespace(&namespace, message, Consequence::NotListed)
    }));
    problems.sort_unstable();
    problems
}

fn over(indexes: &Indexes, group: &AppliedToGroup) -> Option<OverBudget> {
    match group.outcome {
        Outcome::Open => None,
        Outcome::Closed(over) => over,
        Outcome::Rules(id) => indexes.rule_sets.interner.there(id)?.value.over,
    }
}
