//! Groups: pods of a namespace to which the same rules apply in one direction.

use std::collections::BTreeSet;

use crate::collections::ids::{Arena, GroupId, NamespaceId, PodId, RuleSetId};
use crate::collections::idset::IdSet;
use crate::collections::lookup::{self, Lookup};
use crate::collections::parallel;
use crate::invariant::bug;
use crate::object::{Direction, NamedPort};
use crate::output::RuleSet;
use crate::translate::budget::rule_budgets::RuleBudgets;
use crate::translate::budget::{Budgets, OverBudget};
use crate::translate::index::cluster::{Cluster, Dispute, PodEntry};
use crate::translate::index::policies::{MatchedRules, PolicyIndex};
use crate::translate::rules::merge::{Merged, Resolution, merge};
use crate::translate::rules::rule_sets::{IndexesMut, RuleSets};

/// What makes pods share a rule set in one direction: the rules that apply, and on ingress what the port names of
/// those rules stand for on them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct GroupKey {
    namespace: NamespaceId,
    direction: Direction,
    matched: MatchedRules,
    resolution: Resolution,
}

/// What the pods of a group allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::translate) enum Outcome {
    Open,
    Closed(Option<OverBudget>),
    /// What this rule set allows.
    Rules(RuleSetId),
}

/// The group that a pod belongs to, whether or not it is there.
#[derive(Debug)]
pub(in crate::translate) struct WantedGroup {
    key: GroupKey,
    place: lookup::LookupKey,
}

#[derive(Debug)]
pub(in crate::translate) struct AppliedToGroup {
    key: GroupKey,
    /// The weight of its rules.
    pub(in crate::translate) weight: u64,
    pub(in crate::translate) pods: IdSet<PodId>,
    pub(in crate::translate) outcome: Outcome,
}

impl AppliedToGroup {
    pub(in crate::translate) const fn namespace(&self) -> NamespaceId {
        self.key.namespace
    }

    pub(in crate::translate) const fn direction(&self) -> Direction {
        self.key.direction
    }

    /// The rules that apply to its pods.
    pub(in crate::translate) const fn matched(&self) -> &MatchedRules {
        &self.key.matched
    }
}

/// Every group that has a pod.
#[derive(Debug, Default)]
pub(in crate::translate) struct AppliedToGroups {
    groups: Arena<GroupId, AppliedToGroup>,
    by_key: Lookup<GroupId>,
    /// What the groups of each namespace come to.
    pub(in crate::translate) budgets: RuleBudgets,
    /// Groups whose rules are not merged as they are.
    stale: BTreeSet<GroupId>,
    /// Groups that may have lost their last pod.
    idle: BTreeSet<GroupId>,
    /// Groups that are closed because merging their rules went over budget.
    over: BTreeSet<GroupId>,
}

/// Groups whose rules are merged before the next are begun. The merged rules of twice as many are in memory: those of one
/// batch are interned while those of the next are merged.
const BATCH: usize = 2048;

impl AppliedToGroups {
    /// A group that is there.
    #[track_caller]
    pub(in crate::translate) fn get(&self, id: GroupId) -> Option<&AppliedToGroup> {
        self.groups.there(id)
    }

    pub(in crate::translate) fn iter(&self) -> impl Iterator<Item = (GroupId, &AppliedToGroup)> {
        self.groups.iter()
    }

    /// The group of a pod to which this applies.
    pub(in crate::translate) fn wanted(
        &self,
        pod: &PodEntry,
        direction: Direction,
        matched: MatchedRules,
        policies: &PolicyIndex,
    ) -> WantedGroup {
        let resolution = resolve(pod, direction, &matched, policies);
        let key = GroupKey { namespace: pod.namespace, direction, matched, resolution };
        WantedGroup { place: self.by_key.key(&key), key }
    }

    /// Puts a pod into the group that it belongs to, or into none. Returns true if that is another one than before.
    pub(in crate::translate) fn place(
        &mut self,
        pod: PodId,
        direction: Direction,
        wanted: Option<WantedGroup>,
        policies: &mut PolicyIndex,
        cluster: &mut Cluster,
    ) -> bool {
        // One that was to be looked at may be gone: it has left its groups.
        let Some(entry) = cluster.pods.get_mut(pod) else { return false };
        let before = entry.group(direction);
        let after = wanted.map(|wanted| self.group(wanted, policies));
        if before == after {
            return false;
        }
        entry.set_group(direction, after);
        if let Some(group) = after.and_then(|id| self.groups.there_mut(id)) {
            group.pods.insert(pod);
        }
        if let Some(id) = before
            && let Some(group) = self.groups.there_mut(id)
        {
            if !group.pods.remove(pod) {
                bug!("{pod:?} is not in {id:?}, its group");
            }
            // It is not forgotten at once: another pod of this pass may belong to it, and its rules need not be merged
            // again.
            if group.pods.is_empty() {
                self.idle.insert(id);
            }
        }
        true
    }

    fn group(&mut self, wanted: WantedGroup, policies: &mut PolicyIndex) -> GroupId {
        let WantedGroup { key, place } = wanted;
        if let Some(id) = self.by_key.find(place, |id| self.get(id).is_some_and(|group| group.key == key)) {
            return id;
        }
        // A group names rules by id, so it holds them as long as it is there, whatever becomes of the policies.
        key.matched.rules().for_each(|rules| policies.keep_rules(rules));
        let weights = key.matched.rules().filter_map(|rules| policies.rules(rules)).map(|entry| entry.weight);
        let (namespace, weight) = (key.namespace, weights.sum());
        // Until its rules are merged, later in this pass, it allows nothing.
        let group = AppliedToGroup { key, weight, pods: IdSet::default(), outcome: Outcome::Closed(None) };
        let id = self.groups.insert(group);
        self.budgets.add(namespace, id, weight);
        self.by_key.insert(place, id);
        self.stale.insert(id);
        id
    }

    /// Returns true if groups are closed because merging their rules went over budget.
    pub(in crate::translate) fn any_over_budget(&self) -> bool {
        !self.over.is_empty()
    }

    /// Has the rules of every group looked at again, for the owners of a contested address have changed.
    pub(in crate::translate) fn review_all(&mut self) {
        self.stale = self.groups.ids().collect();
    }

    /// Looks which namespaces are over budget once groups without pods are forgotten; all groups of those for which it
    /// is news become stale.
    pub(in crate::translate) fn review_budgets(&mut self, policies: &PolicyIndex, budgets: &Budgets) {
        // Taken out while it is reviewed, for what it asks reads the groups.
        let mut rule_budgets = std::mem::take(&mut self.budgets);
        let merged = |id: GroupId| {
            let GroupKey { direction, matched, resolution, .. } = &self.get(id)?.key;
            let rules = matched.rules().filter_map(|rules| policies.rules(rules));
            crate::translate::budget::weight::merged(
                *direction,
                rules.flat_map(|entry| &*entry.rules),
                resolution,
            )
        };
        let news = rule_budgets.review(budgets, merged);
        self.budgets = rule_budgets;
        self.stale.extend(news);
    }

    /// Merges the rules of stale groups; how many there were. The pods whose isolation may differ go to `affected`.
    pub(in crate::translate) fn refresh(
        &mut self,
        policies: &PolicyIndex,
        rule_sets: &mut RuleSets,
        indexes: &mut IndexesMut<'_>,
        budgets: &Budgets,
        affected: &mut Vec<PodId>,
    ) -> usize {
        let stale: Vec<GroupId> = std::mem::take(&mut self.stale).into_iter().collect();
        let disputes = indexes.cluster.disputes();
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(stale.len());
        let merge = |id: &GroupId| self.merge_rules(*id, policies, &disputes, budgets);
        let prefetch = |ids: &[GroupId]| self.prefetch(ids, policies);
        // Other threads merge a batch while this one interns the batch before: ids are given in order, and whatever the
        // number of groups, no more is in memory.
        parallel::map_batches(&stale, BATCH, prefetch, merge, |merged| {
            outcomes.extend(merged.into_iter().map(|merged| match merged? {
                Ok((namespace, rules)) => Some(Outcome::Rules(rule_sets.hold(rules, namespace, indexes))),
                Err(outcome) => Some(outcome),
            }));
        });
        // After the last batch, so that a set that several rule sets look up is filled once, and all of them in
        // parallel.
        rule_sets.fill(indexes.cluster);
        for (id, outcome) in stale.iter().zip(outcomes) {
            outcome.into_iter().for_each(|outcome| self.settle(*id, outcome, rule_sets, affected));
        }
        stale.len()
    }

    /// Takes over what the rules of a group come to.
    fn settle(&mut self, id: GroupId, outcome: Outcome, rule_sets: &mut RuleSets, affected: &mut Vec<PodId>) {
        let Some(group) = self.groups.there_mut(id) else { return };
        let before = std::mem::replace(&mut group.outcome, outcome);
        // The new rules are held already, so what both refer to is not let go in between.
        if let Outcome::Rules(rules) = before {
            rule_sets.release(rules, group.key.namespace);
        }
        if matches!(outcome, Outcome::Closed(Some(_))) {
            self.over.insert(id);
        } else {
            self.over.remove(&id);
        }
        // Equal rules have one id: a group whose rules come to the same affects nobody.
        if before != outcome {
            affected.extend(group.pods.iter());
        }
    }

    /// What the rules of a group come to: merged rules, where it is not to be told without them.
    fn merge_rules(
        &self,
        id: GroupId,
        policies: &PolicyIndex,
        disputes: &[Dispute],
        budgets: &Budgets,
    ) -> Option<Result<(NamespaceId, RuleSet), Outcome>> {
        let group = self.get(id)?;
        if group.pods.is_empty() {
            // Those are forgotten before rules are merged.
            bug!("{id:?} has no pod");
            return None;
        }
        let GroupKey { namespace, direction, matched, resolution } = &group.key;
        let over = self
            .budgets
            .over(*namespace)
            .or((*matched == MatchedRules::Unknown).then_some(OverBudget::Tries));
        // Over budget the rules are not even merged, for the budget is there to save that.
        if let Some(over) = over {
            return Some(Err(Outcome::Closed(Some(over))));
        }
        let rules = matched.rules().filter_map(|rules| policies.rules(rules)).flat_map(|entry| &*entry.rules);
        Some(match merge(*direction, rules, resolution, disputes, budgets) {
            Ok(Merged::Open) => Err(Outcome::Open),
            Ok(Merged::Closed) => Err(Outcome::Closed(None)),
            Ok(Merged::Rules(rules)) => Ok((*namespace, rules)),
            Err(over) => Err(Outcome::Closed(Some(over))),
        })
    }

    /// Forgets groups without pods.
    pub(in crate::translate) fn sweep(&mut self, policies: &mut PolicyIndex, rule_sets: &mut RuleSets) {
        for id in std::mem::take(&mut self.idle) {
            // It may have got a pod since.
            if self.get(id).is_none_or(|group| !group.pods.is_empty()) {
                continue;
            }
            let Some(group) = self.groups.remove(id) else { continue };
            self.stale.remove(&id);
            self.over.remove(&id);
            self.by_key.remove(self.by_key.key(&group.key), id);
            self.budgets.remove(group.key.namespace, id, group.weight);
            group.key.matched.rules().for_each(|rules| policies.release_rules(rules));
            if let Outcome::Rules(rules) = group.outcome {
                rule_sets.release(rules, group.key.namespace);
            }
        }
    }
}

/// What the port names of ingress rules stand for on a pod. Towards other pods names are resolved on each
/// destination.
fn resolve(
    entry: &PodEntry,
    direction: Direction,
    matched: &MatchedRules,
    policies: &PolicyIndex,
) -> Resolution {
    if direction == Direction::Egress {
        return Resolution::new();
    }
    if entry.pod.ports.is_empty() {
        return Resolution::new();
    }
    let names = matched.rules().filter_map(|rules| policies.rules(rules)).flat_map(|entry| &entry.names);
    let resolved = names.flat_map(|(protocol, name)| {
        let named = |number| NamedPort { name: name.clone(), protocol: *protocol, number };
        entry.pod.numbers(*protocol, name).map(named)
    });
    resolved.collect()
}
