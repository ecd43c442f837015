//! What the groups of each namespace come to, and which namespaces are over budget.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fnv::FnvBuildHasher;

use super::budget::{Budgets, OverBudget};
use super::weight;
use crate::idset::IdSet;
use crate::parallel;

/// The groups of a namespace.
#[derive(Debug, Default)]
struct Tenant {
    groups: IdSet,
    /// What the rules of groups come to once merged, where it was of interest: `None` if one is over budget by itself,
    /// and then comes to nothing.
    known: BTreeMap<u32, Option<u64>>,
    /// The weight of their rules.
    weight: u64,
    /// Whether there is too much: as of the last review.
    over: Option<OverBudget>,
}

/// Every namespace with a group.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    tenants: HashMap<u32, Tenant, FnvBuildHasher>,
    /// Those whose groups have changed since the last review.
    changed: BTreeSet<u32>,
}

impl Tenants {
    /// A namespace has one more group.
    pub(super) fn add(&mut self, namespace: u32, group: u32, weight: u64) {
        let tenant = self.tenants.entry(namespace).or_default();
        tenant.groups.insert(group);
        tenant.weight += weight;
        self.changed.insert(namespace);
    }

    /// A namespace has one group fewer.
    pub(super) fn remove(&mut self, namespace: u32, group: u32, weight: u64) {
        let Some(tenant) = self.tenants.get_mut(&namespace) else { return };
        tenant.groups.remove(group);
        tenant.known.remove(&group);
        tenant.weight -= weight;
        if tenant.groups.is_empty() {
            self.tenants.remove(&namespace);
        }
        self.changed.insert(namespace);
    }

    /// Why a namespace is over budget, if it is.
    pub(super) fn over(&self, namespace: u32) -> Option<OverBudget> {
        self.tenants.get(&namespace)?.over
    }

    /// The namespaces that are over budget, with what they come to and what is allowed.
    pub(super) fn all_over<'a>(
        &'a self,
        budgets: &'a Budgets,
    ) -> impl Iterator<Item = (u32, OverBudget, (u64, u64))> + 'a {
        self.tenants.iter().filter_map(|(namespace, tenant)| {
            let over = tenant.over?;
            let figures = match over {
                OverBudget::Merged => (tenant.merged(), budgets.merged),
                _ => (tenant.weight, budgets.said),
            };
            Some((*namespace, over, figures))
        })
    }

    /// Looks again at the namespaces whose groups have changed; `merged` tells what the rules of a group come to. The
    /// groups of those that have gone over budget, or came back.
    pub(super) fn review(
        &mut self,
        budgets: &Budgets,
        merged: impl Fn(u32) -> Option<u64> + Sync,
    ) -> Vec<u32> {
        let mut news = Vec::new();
        for namespace in std::mem::take(&mut self.changed) {
            let Some(tenant) = self.tenants.get_mut(&namespace) else { continue };
            let over = tenant.judge(budgets, &merged);
            if std::mem::replace(&mut tenant.over, over) != over {
                news.extend(tenant.groups.iter());
            }
        }
        news
    }
}

impl Tenant {
    fn judge(
        &mut self,
        budgets: &Budgets,
        merged: &(impl Fn(u32) -> Option<u64> + Sync),
    ) -> Option<OverBudget> {
        if self.weight > budgets.said {
            return Some(OverBudget::Said);
        }
        if weight::most_merged(self.weight) <= budgets.merged {
            return None;
        }
        let unknown: Vec<u32> = self.groups.iter().filter(|id| !self.known.contains_key(id)).collect();
        let found = parallel::map(&unknown, |id| merged(*id));
        self.known.extend(unknown.into_iter().zip(found));
        (self.merged() > budgets.merged).then_some(OverBudget::Merged)
    }

    fn merged(&self) -> u64 {
        self.known.values().flatten().sum()
    }
}
