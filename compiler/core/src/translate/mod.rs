//! From the world to one Output per node.
//!
//! Policies are grouped by the selector of their subjects and pods by the selectors that match them, so pods with
//! the same rules share one rule set however many policies say it.

mod budget;
mod build;
mod draft;
mod identify;
mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::{NamespaceName, NodeName, PodKey};

use self::build::Builder;
use self::draft::{Draft, RuleDraft, draft};
use self::index::{Index, Owner};
use crate::identity::{ShortHash, fnv1a};
use crate::label::Selector;
use crate::object::{
    Direction, HostInterface, Pod, PodNetwork, Policy, PortMatch, PortName, Rule, RulePorts,
};
use crate::output::{Families, Isolation, Output, RuleSet, Subject};
use crate::port::Protocol;
use crate::problem::Problem;
use crate::world::World;

/// The outputs of all nodes of a world.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translation {
    families: Families,
    nodes: BTreeMap<NodeName, Output>,
    problems: Vec<Problem>,
}

impl Translation {
    /// The output of `node`; of a node that the world does not know: nothing is isolated.
    #[must_use]
    pub fn output(&self, node: &NodeName) -> Output {
        self.nodes
            .get(node)
            .cloned()
            .unwrap_or_else(|| Output { families: self.families, ..Output::empty(node.clone()) })
    }

    /// Policies that translation had to take for isolating although each field is understood.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Every node of the world and its output, by name.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeMap<NodeName, Output> {
        &self.nodes
    }

    /// What is known without any node: enough to answer for nodes that the world does not know.
    #[must_use]
    pub fn nowhere(&self) -> Self {
        Self { families: self.families, ..Self::default() }
    }
}

/// Translates a world.
#[must_use]
pub fn translate(world: &World) -> Translation {
    translate_with(world, fnv1a)
}

/// Translates a world with another short hash for names, so that a test can make them collide.
#[must_use]
pub fn translate_with(world: &World, hash: ShortHash) -> Translation {
    let index = Index::of(world);
    let groups = Groups::of(world, &index);
    let (isolations, problems) = groups.isolations(&index, hash);
    let families = index.families();
    let mut nodes: BTreeMap<NodeName, Output> = world
        .node_names()
        .into_iter()
        .map(|node| (node.clone(), Output { families, ..Output::empty(node.clone()) }))
        .collect();
    // Interfaces of pods that have reported addresses: also one that has yielded all of them, so that nothing that
    // comes from there is its own. Before the first report a source cannot be judged.
    for pod in world.pods().values() {
        if let (Some(interface), Some(output)) =
            (interface_of(pod), pod.node.as_ref().and_then(|n| nodes.get_mut(n)))
        {
            output.anchors.entry(interface.clone()).or_default();
        }
    }
    for owner in index.owners() {
        if let Some(output) = owner.pod.node.as_ref().and_then(|node| nodes.get_mut(node)) {
            place(output, owner, &index, &isolations);
        }
    }
    Translation { families, nodes, problems }
}

/// Adds a local pod to its node's output.
fn place(output: &mut Output, owner: &Owner<'_>, index: &Index<'_>, isolations: &Isolations) {
    let mut isolated = false;
    for address in owner.all_addresses() {
        let alone = [owner.pod];
        let owners: &[&Pod] = index.contested().get(&address).map_or(&alone, Vec::as_slice);
        let [ingress, egress] =
            [Direction::Ingress, Direction::Egress].map(|direction| isolations.of(direction, owners));
        if ingress == Isolation::Open && egress == Isolation::Open {
            continue;
        }
        isolated = true;
        let pods = owners.iter().map(|pod| pod.key.clone()).collect();
        output.subjects.insert(address, Subject { pods, ingress, egress });
    }
    if isolated {
        output.hairpins.extend(hairpins(owner));
    }
    if let Some(anchored) = interface_of(owner.pod).and_then(|interface| output.anchors.get_mut(interface)) {
        anchored.extend(owner.all_addresses());
    }
}

/// The host interface of a pod that still has one, where it is known.
fn interface_of(pod: &Pod) -> Option<&HostInterface> {
    pod.addresses().filter(|addresses| !addresses.is_empty())?;
    match &pod.network {
        PodNetwork::Own { interface, .. } => interface.as_ref(),
        PodNetwork::Host => None,
    }
}

/// A pod with more addresses of a family than this always reaches itself at one address only, not across them:
/// the pairs grow with the square, and the API knows of at most one address per family today.
const CROSS_PAIRS_LIMIT: usize = 64;

/// The pairs of a pod's addresses between which it talks to itself.
fn hairpins(owner: &Owner<'_>) -> Vec<(IpAddr, IpAddr)> {
    let mut pairs: Vec<(IpAddr, IpAddr)> = owner.all_addresses().map(|address| (address, address)).collect();
    for v4 in [true, false] {
        let family: Vec<IpAddr> = owner.addresses.iter().copied().filter(|a| a.is_ipv4() == v4).collect();
        if family.len() <= CROSS_PAIRS_LIMIT {
            pairs.extend(
                family.iter().flat_map(|a| family.iter().filter(move |b| a != *b).map(move |b| (*a, *b))),
            );
        }
    }
    pairs
}

/// What makes pods share a rule set in one direction: the selectors that match them, and on ingress what the port
/// names of those policies stand for on them.
type GroupKey<'w> = (&'w NamespaceName, Vec<&'w Selector>, draft::Resolution);

/// Pods grouped by the rules that apply to them.
struct Groups<'w> {
    policies: BTreeMap<Direction, BTreeMap<&'w NamespaceName, BTreeMap<&'w Selector, Vec<&'w Policy>>>>,
    pods: BTreeMap<Direction, BTreeMap<GroupKey<'w>, Vec<&'w PodKey>>>,
}

impl<'w> Groups<'w> {
    fn of(world: &'w World, index: &Index<'w>) -> Self {
        let mut groups = Self { policies: BTreeMap::new(), pods: BTreeMap::new() };
        for direction in Direction::ALL {
            let mut policies: BTreeMap<&NamespaceName, BTreeMap<&Selector, Vec<&Policy>>> = BTreeMap::new();
            for policy in world.policies().values().filter(|policy| policy.rules(direction).is_some()) {
                let selectors = policies.entry(&policy.key.namespace).or_default();
                selectors.entry(&policy.subjects).or_default().push(policy);
            }
            let mut pods: BTreeMap<GroupKey<'w>, Vec<&PodKey>> = BTreeMap::new();
            for (namespace, selectors) in &policies {
                let named = port_names(direction, selectors);
                for owner in index.owners_in(namespace) {
                    let matching: Vec<&Selector> = selectors
                        .keys()
                        .copied()
                        .filter(|selector| selector.matches(&owner.pod.labels))
                        .collect();
                    if !matching.is_empty() {
                        let resolution = resolve(owner.pod, &matching, &named);
                        pods.entry((namespace, matching, resolution)).or_default().push(&owner.pod.key);
                    }
                }
            }
            groups.policies.insert(direction, policies);
            groups.pods.insert(direction, pods);
        }
        groups
    }

    /// Merges each group's rules, names the results and says which pod got which; what is over budget is closed.
    fn isolations(&self, index: &Index<'_>, hash: ShortHash) -> (Isolations, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut drafts: Vec<(Direction, Draft, &GroupKey<'_>, &Vec<&PodKey>)> = Vec::new();
        for (direction, groups) in &self.pods {
            for (key, pods) in groups {
                let rules =
                    self.policies(*direction, key).filter_map(|policy| policy.rules(*direction)).flatten();
                let draft = draft(*direction, rules, &key.2, index).unwrap_or_else(|over| {
                    problems.push(over.problem(*direction, self.policies(*direction, key)));
                    Draft::Closed
                });
                drafts.push((*direction, draft, key, pods));
            }
        }
        let with_rules = drafts.iter().filter_map(|(_, draft, ..)| match draft {
            Draft::Rules(rules) => Some(&**rules),
            Draft::Open | Draft::Closed => None,
        });
        let mut builder = Builder::new(index, with_rules.collect::<Vec<&RuleDraft>>(), hash);
        let mut isolations = Isolations(BTreeMap::new());
        for (direction, draft, key, pods) in drafts {
            let group = match &draft {
                Draft::Open => continue,
                Draft::Closed => Group::Closed,
                Draft::Rules(rules) => builder.rule_set(rules).map_or_else(
                    |over| {
                        problems.push(over.problem(direction, self.policies(direction, key)));
                        Group::Closed
                    },
                    Group::Rules,
                ),
            };
            isolations.0.extend(pods.iter().map(|pod| ((direction, (*pod).clone()), group.clone())));
        }
        (isolations, problems)
    }

    /// The policies that select a group.
    fn policies(&self, direction: Direction, key: &GroupKey<'w>) -> impl Iterator<Item = &'w Policy> {
        let (namespace, selectors, _) = key;
        let by_selector = self.policies.get(&direction).and_then(|namespaces| namespaces.get(*namespace));
        selectors.iter().filter_map(move |selector| by_selector?.get(*selector)).flatten().copied()
    }
}

/// The port names that each selector's policies use in `direction`; only ingress resolves them on the subject.
fn port_names<'w>(
    direction: Direction,
    selectors: &BTreeMap<&'w Selector, Vec<&'w Policy>>,
) -> BTreeMap<&'w Selector, BTreeSet<(Protocol, &'w PortName)>> {
    if direction == Direction::Egress {
        return BTreeMap::new();
    }
    let names_of = |rule: &'w Rule| match &rule.ports {
        RulePorts::Any => &[],
        RulePorts::OneOf(ports) => ports.as_slice(),
    };
    let mut named: BTreeMap<&Selector, BTreeSet<(Protocol, &PortName)>> = BTreeMap::new();
    for (selector, policies) in selectors {
        let rules = policies.iter().filter_map(|policy| policy.rules(direction)).flatten();
        for port in rules.flat_map(names_of) {
            if let PortMatch::Named { protocol, name } = port {
                named.entry(selector).or_default().insert((*protocol, name));
            }
        }
    }
    named
}

fn resolve(
    pod: &Pod,
    matching: &[&Selector],
    named: &BTreeMap<&Selector, BTreeSet<(Protocol, &PortName)>>,
) -> draft::Resolution {
    let names = matching.iter().filter_map(|selector| named.get(*selector)).flatten();
    names
        .map(|(protocol, name)| ((*protocol, (*name).clone()), pod.numbers(*protocol, name).collect()))
        .filter(|(_, numbers): &(_, BTreeSet<u16>)| !numbers.is_empty())
        .collect()
}

/// What a group of pods allows in one direction.
#[derive(Clone)]
enum Group {
    Closed,
    Rules(Arc<RuleSet>),
}

/// The isolation of each pod by direction; a pod that is open is not there.
struct Isolations(BTreeMap<(Direction, PodKey), Group>);

impl Isolations {
    /// The isolation of an address with these owners: all of them must allow a flow.
    fn of(&self, direction: Direction, owners: &[&Pod]) -> Isolation {
        let mut rule_sets: Vec<Arc<RuleSet>> = Vec::new();
        for owner in owners {
            match self.0.get(&(direction, owner.key.clone())) {
                None => {}
                Some(Group::Closed) => return Isolation::Closed,
                Some(Group::Rules(rules)) => rule_sets.push(Arc::clone(rules)),
            }
        }
        rule_sets.sort_by(|a, b| a.name.cmp(&b.name));
        rule_sets.dedup_by(|a, b| a.name == b.name);
        if rule_sets.is_empty() { Isolation::Open } else { Isolation::Rules(rule_sets) }
    }
}
