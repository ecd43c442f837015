//! Groups: pods of a namespace to which the same rules apply in one direction.

use std::collections::BTreeSet;

use slab::Slab;

use super::budget::{Budgets, OverBudget};
use super::cluster::{Cluster, Dispute, PodEntry};
use super::draft::{Draft, Resolution, draft};
use super::lookup::{self, Lookup};
use super::parts::{Ground, Parts};
use super::plan::Plan;
use super::subjects::{Applying, Subjects};
use super::tenants::Tenants;
use crate::identity::ShortHash;
use crate::idset::{IdSet, number};
use crate::object::{Direction, NamedPort};
use crate::parallel;

/// What makes pods share a rule set in one direction: the rules that apply, and on ingress what the port names of
/// those rules stand for on them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    namespace: u32,
    direction: Direction,
    applying: Applying,
    resolution: Resolution,
}

/// What the pods of a group allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Open,
    Closed(Option<OverBudget>),
    /// What the rule set with this number allows.
    Rules(u32),
}

/// The group that a pod belongs to, whether or not it is there.
#[derive(Debug)]
pub(super) struct Wanted {
    key: Key,
    place: lookup::Key,
}

#[derive(Debug)]
pub(super) struct Group {
    key: Key,
    /// The weight of its rules.
    pub(super) weight: u64,
    pub(super) pods: IdSet,
    pub(super) outcome: Outcome,
}

impl Group {
    pub(super) const fn namespace(&self) -> u32 {
        self.key.namespace
    }

    pub(super) const fn direction(&self) -> Direction {
        self.key.direction
    }

    /// The rules that apply to its pods.
    pub(super) const fn applying(&self) -> &Applying {
        &self.key.applying
    }
}

/// Every group that has a pod.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Slab<Group>,
    by_key: Lookup,
    /// What the groups of each namespace come to.
    pub(super) tenants: Tenants,
    /// Groups without a draft of their rules as they are.
    stale: BTreeSet<u32>,
    /// Groups that may have lost their last pod.
    idle: BTreeSet<u32>,
    /// Groups that are closed because merging their rules went over budget.
    over: BTreeSet<u32>,
}

/// Groups whose drafts are in memory at the same time.
const AT_ONCE: usize = 4096;

impl Groups {
    pub(super) fn get(&self, id: u32) -> Option<&Group> {
        self.groups.get(id as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Group)> {
        self.groups.iter().map(|(key, group)| (number(key), group))
    }

    /// The group of a pod to which this applies.
    pub(super) fn wanted(
        &self,
        pod: &PodEntry,
        direction: Direction,
        applying: Applying,
        subjects: &Subjects,
    ) -> Wanted {
        let resolution = resolve(pod, direction, &applying, subjects);
        let key = Key { namespace: pod.namespace, direction, applying, resolution };
        Wanted { place: self.by_key.key(&key), key }
    }

    /// Puts a pod into the group that it belongs to, or into none; whether that is another one than before.
    pub(super) fn place(
        &mut self,
        pod: u32,
        direction: Direction,
        wanted: Option<Wanted>,
        subjects: &mut Subjects,
        cluster: &mut Cluster,
    ) -> bool {
        let Some(entry) = cluster.pod_mut(pod) else { return false };
        let before = entry.group(direction);
        let after = wanted.map(|wanted| self.group(wanted, subjects));
        if before == after {
            return false;
        }
        entry.set_group(direction, after);
        if let Some(group) = after.and_then(|id| self.groups.get_mut(id as usize)) {
            group.pods.insert(pod);
        }
        if let Some(id) = before
            && let Some(group) = self.groups.get_mut(id as usize)
        {
            group.pods.remove(pod);
            if group.pods.is_empty() {
                self.idle.insert(id);
            }
        }
        true
    }

    fn group(&mut self, wanted: Wanted, subjects: &mut Subjects) -> u32 {
        let Wanted { key, place } = wanted;
        if let Some(id) = self.by_key.find(place, |id| self.get(id).is_some_and(|group| group.key == key)) {
            return id;
        }
        key.applying.rules().for_each(|rules| subjects.keep_rules(rules));
        let weights =
            key.applying.rules().filter_map(|rules| subjects.rules(rules)).map(|entry| entry.weight);
        let (namespace, weight) = (key.namespace, weights.sum());
        let group = Group { key, weight, pods: IdSet::default(), outcome: Outcome::Closed(None) };
        let id = number(self.groups.insert(group));
        self.tenants.add(namespace, id, weight);
        self.by_key.insert(place, id);
        self.stale.insert(id);
        id
    }

    /// Whether groups are closed because merging their rules went over budget.
    pub(super) fn any_over_budget(&self) -> bool {
        !self.over.is_empty()
    }

    /// Has the rules of every group looked at again, for the owners of a contested address have changed.
    pub(super) fn review_all(&mut self) {
        self.stale = self.groups.iter().map(|(key, _)| number(key)).collect();
    }

    /// Looks which namespaces are over budget once groups without pods are forgotten; all groups of those for which it
    /// is news become stale.
    pub(super) fn review_tenants(&mut self, subjects: &Subjects, budgets: &Budgets) {
        let mut tenants = std::mem::take(&mut self.tenants);
        let merged = |id: u32| {
            let Key { direction, applying, resolution, .. } = &self.get(id)?.key;
            let rules = applying.rules().filter_map(|rules| subjects.rules(rules));
            super::weight::merged(*direction, rules.flat_map(|entry| &*entry.rules), resolution)
        };
        let news = tenants.review(budgets, merged);
        self.tenants = tenants;
        self.stale.extend(news);
    }

    /// Merges the rules of stale groups; how many there were. The pods whose isolation may differ go to `affected`.
    pub(super) fn refresh(
        &mut self,
        subjects: &Subjects,
        parts: &mut Parts,
        ground: &mut Ground<'_>,
        names: ShortHash,
        budgets: &Budgets,
        affected: &mut Vec<u32>,
    ) -> usize {
        let stale: Vec<u32> = std::mem::take(&mut self.stale).into_iter().collect();
        let disputes = ground.cluster.disputes();
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(stale.len());
        let draft = |id: &u32| self.draft(*id, subjects, &disputes, names, budgets);
        let ask = |ids: &[u32]| self.ask_for(ids, subjects);
        parallel::ahead(&stale, AT_ONCE, ask, draft, |drafts| {
            outcomes.extend(drafts.into_iter().map(|drafted| match drafted? {
                Ok((namespace, plan)) => Some(Outcome::Rules(parts.hold(plan, namespace, ground))),
                Err(outcome) => Some(outcome),
            }));
        });
        parts.fill(ground.cluster);
        for (id, outcome) in stale.iter().zip(outcomes) {
            outcome.into_iter().for_each(|outcome| self.settle(*id, outcome, parts, affected));
        }
        stale.len()
    }

    /// Takes over what the rules of a group come to.
    fn settle(&mut self, id: u32, outcome: Outcome, parts: &mut Parts, affected: &mut Vec<u32>) {
        let Some(group) = self.groups.get_mut(id as usize) else { return };
        let before = std::mem::replace(&mut group.outcome, outcome);
        if let Outcome::Rules(rules) = before {
            parts.release(rules, group.key.namespace);
        }
        if matches!(outcome, Outcome::Closed(Some(_))) {
            self.over.insert(id);
        } else {
            self.over.remove(&id);
        }
        if before != outcome {
            affected.extend(group.pods.iter());
        }
    }

    /// What the rules of a group come to: a plan, where it is not to be told without one.
    fn draft(
        &self,
        id: u32,
        subjects: &Subjects,
        disputes: &[Dispute],
        names: ShortHash,
        budgets: &Budgets,
    ) -> Option<Result<(u32, Plan), Outcome>> {
        let group = self.get(id).filter(|group| !group.pods.is_empty())?;
        let Key { namespace, direction, applying, resolution } = &group.key;
        let over =
            self.tenants.over(*namespace).or((*applying == Applying::Unknown).then_some(OverBudget::Tries));
        if let Some(over) = over {
            return Some(Err(Outcome::Closed(Some(over))));
        }
        let rules =
            applying.rules().filter_map(|rules| subjects.rules(rules)).flat_map(|entry| &*entry.rules);
        Some(match draft(*direction, rules, resolution, disputes, budgets) {
            Ok(Draft::Open) => Err(Outcome::Open),
            Ok(Draft::Closed) => Err(Outcome::Closed(None)),
            Ok(Draft::Rules(rules)) => Ok((*namespace, Plan::of(rules, names))),
            Err(over) => Err(Outcome::Closed(Some(over))),
        })
    }

    /// Forgets groups without pods.
    pub(super) fn sweep(&mut self, subjects: &mut Subjects, parts: &mut Parts) {
        for id in std::mem::take(&mut self.idle) {
            if self.get(id).is_none_or(|group| !group.pods.is_empty()) {
                continue;
            }
            let group = self.groups.remove(id as usize);
            self.stale.remove(&id);
            self.over.remove(&id);
            self.by_key.remove(self.by_key.key(&group.key), id);
            self.tenants.remove(group.key.namespace, id, group.weight);
            group.key.applying.rules().for_each(|rules| subjects.release_rules(rules));
            if let Outcome::Rules(rules) = group.outcome {
                parts.release(rules, group.key.namespace);
            }
        }
    }
}

/// What the port names of ingress rules stand for on a pod. Towards other pods names are resolved on each
/// destination.
fn resolve(entry: &PodEntry, direction: Direction, applying: &Applying, subjects: &Subjects) -> Resolution {
    if direction == Direction::Egress {
        return Resolution::new();
    }
    if entry.pod.ports.is_empty() {
        return Resolution::new();
    }
    let names = applying.rules().filter_map(|rules| subjects.rules(rules)).flat_map(|entry| &entry.names);
    let resolved = names.flat_map(|(protocol, name)| {
        let named = |number| NamedPort { name: name.clone(), protocol: *protocol, number };
        entry.pod.numbers(*protocol, name).map(named)
    });
    resolved.collect()
}
