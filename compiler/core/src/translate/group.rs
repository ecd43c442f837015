//! Groups: pods that share a rule set, because the same policies select them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flock_shared::{NamespaceName, PodKey};

use super::build::Builder;
use super::draft::{Draft, Resolution, RuleDraft, draft};
use super::index::Index;
use crate::identity::ShortHash;
use crate::label::Selector;
use crate::object::{Direction, Pod, Policy, PortMatch, PortName, Rule, RulePorts};
use crate::output::{Isolation, RuleSet};
use crate::port::Protocol;
use crate::problem::Problem;
use crate::world::World;

/// What makes pods share a rule set in one direction: the selectors that match them, and on ingress what the port
/// names of those policies stand for on them.
type GroupKey<'w> = (&'w NamespaceName, Vec<&'w Selector>, Resolution);

/// Pods grouped by the rules that apply to them.
pub(super) struct Groups<'w> {
    policies: BTreeMap<Direction, BTreeMap<&'w NamespaceName, BTreeMap<&'w Selector, Vec<&'w Policy>>>>,
    pods: BTreeMap<Direction, BTreeMap<GroupKey<'w>, Vec<&'w PodKey>>>,
}

impl<'w> Groups<'w> {
    pub(super) fn of(world: &'w World, index: &Index<'w>) -> Self {
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
    pub(super) fn isolations(&self, index: &Index<'_>, hash: ShortHash) -> (Isolations, Vec<Problem>) {
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
) -> Resolution {
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
pub(super) struct Isolations(BTreeMap<(Direction, PodKey), Group>);

impl Isolations {
    /// The isolation of an address with these owners: all of them must allow a flow.
    pub(super) fn of(&self, direction: Direction, owners: &[&Pod]) -> Isolation {
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
