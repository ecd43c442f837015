//! What the groups of each namespace come to, and which namespaces are over budget.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fnv::FnvBuildHasher;

use super::weight;
use crate::collections::count::Count;
use crate::collections::ids::{GroupId, NamespaceId};
use crate::collections::idset::IdSet;
use crate::collections::parallel;
use crate::invariant::bug;
use crate::translate::budget::{Budgets, OverBudget};

/// The groups of a namespace.
#[derive(Debug, Default)]
struct NamespaceRules {
    groups: IdSet<GroupId>,
    /// What the rules of groups come to once merged, where it was of interest: `None` if one is over budget by itself,
    /// and then comes to nothing.
    known: BTreeMap<GroupId, Option<u64>>,
    /// The weight of their rules.
    weight: Count<u64>,
    /// Whether there is too much: as of the last review.
    over: Option<OverBudget>,
}

/// Every namespace with a group.
#[derive(Debug, Default)]
pub(in crate::translate) struct RuleBudgets {
    namespaces: HashMap<NamespaceId, NamespaceRules, FnvBuildHasher>,
    /// Those whose groups have changed since the last review.
    changed: BTreeSet<NamespaceId>,
}

impl RuleBudgets {
    /// A namespace has one more group.
    pub(in crate::translate) fn add(&mut self, namespace: NamespaceId, group: GroupId, weight: u64) {
        let rules = self.namespaces.entry(namespace).or_default();
        rules.groups.insert(group);
        rules.weight.add(weight);
        self.changed.insert(namespace);
    }

    /// A namespace has one group fewer.
    pub(in crate::translate) fn remove(&mut self, namespace: NamespaceId, group: GroupId, weight: u64) {
        let Some(rules) = self.namespaces.get_mut(&namespace) else {
            return bug!("{namespace:?} has no group, nor has it {group:?}");
        };
        if !rules.groups.remove(group) {
            bug!("{namespace:?} does not have {group:?}");
        }
        rules.known.remove(&group);
        rules.weight.sub(weight);
        if rules.groups.is_empty() {
            self.namespaces.remove(&namespace);
        }
        self.changed.insert(namespace);
    }

    /// Why a namespace is over budget, if it is.
    pub(in crate::translate) fn over(&self, namespace: NamespaceId) -> Option<OverBudget> {
        self.namespaces.get(&namespace)?.over
    }

    /// The namespaces that are over budget, with what they come to and what is allowed.
    pub(in crate::translate) fn all_over<'a>(
        &'a self,
        budgets: &'a Budgets,
    ) -> impl Iterator<Item = (NamespaceId, OverBudget, (u64, u64))> + 'a {
        self.namespaces.iter().filter_map(|(namespace, rules)| {
            let over = rules.over?;
            let figures = match over {
                OverBudget::Merged => (rules.merged(), budgets.merged),
                _ => (rules.weight.get(), budgets.said),
            };
            Some((*namespace, over, figures))
        })
    }

    /// Looks again at the namespaces whose groups have changed; `merged` tells what the rules of a group come to. The
    /// groups of those that have gone over budget, or came back.
    pub(in crate::translate) fn review(
        &mut self,
        budgets: &Budgets,
        merged: impl Fn(GroupId) -> Option<u64> + Sync,
    ) -> Vec<GroupId> {
        let mut news = Vec::new();
        for namespace in std::mem::take(&mut self.changed) {
            // Its last group may be gone.
            let Some(rules) = self.namespaces.get_mut(&namespace) else { continue };
            let over = rules.judge(budgets, &merged);
            if std::mem::replace(&mut rules.over, over) != over {
                news.extend(rules.groups.iter());
            }
        }
        news
    }
}

impl NamespaceRules {
    fn judge(
        &mut self,
        budgets: &Budgets,
        merged: &(impl Fn(GroupId) -> Option<u64> + Sync),
    ) -> Option<OverBudget> {
        if self.weight.get() > budgets.said {
            return Some(OverBudget::Said);
        }
        // The weight bounds what rules can come to, so most namespaces are judged without merging anything.
        if weight::most_merged(self.weight.get()) <= budgets.merged {
            return None;
        }
        // What a group applies never changes, so what it comes to is told once.
        let unknown: Vec<GroupId> = self.groups.iter().filter(|id| !self.known.contains_key(id)).collect();
        let found = parallel::map(&unknown, |id| merged(*id));
        self.known.extend(unknown.into_iter().zip(found));
        (self.merged() > budgets.merged).then_some(OverBudget::Merged)
    }

    fn merged(&self) -> u64 {
        self.known.values().flatten().sum()
    }
}
