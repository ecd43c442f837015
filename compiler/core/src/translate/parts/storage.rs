//! Which sets are stored: those of rule sets and namespaces within their budgets of members. Others are counted, so that
//! it is noticed when they come back.

use std::collections::BTreeSet;

use super::tenancy::Crossing;
use super::{FEW_SETS, Parts};
use crate::translate::budget::{self, OverBudget};
use crate::translate::cluster::Cluster;

impl Parts {
    /// Has the sets of a rule set stored that a group has; if they are many, or those of its namespace, once it is known
    /// how large they are.
    pub(super) fn use_sets(&mut self, id: u32, namespace: u32) {
        let Some(part) = self.rule_sets.get(id) else { return };
        if part.value.stores {
            return;
        }
        if part.value.sets.len() > FEW_SETS || self.tenancies.is_wide(namespace) {
            self.uncounted.push(id);
        } else {
            self.store_sets(id);
        }
    }

    /// Has the sets of a rule set stored, or not any more, as budgets allow now.
    fn store_sets(&mut self, id: u32) {
        let Some(part) = self.rule_sets.get_mut(id) else { return };
        let part = &mut part.value;
        let stores = part.live > 0 && part.over.is_none();
        if std::mem::replace(&mut part.stores, stores) != stores {
            for set in &part.sets {
                if stores { self.sets.store(*set) } else { self.sets.discard(*set) }
            }
        }
    }

    /// Makes the members of new sets, and decides which new rule sets and namespaces are within budget.
    pub(in crate::translate) fn fill(&mut self, cluster: &Cluster) {
        self.sets.fill(cluster);
        self.review_tenancies(&BTreeSet::new());
        for id in std::mem::take(&mut self.uncounted) {
            let Some(part) = self.rule_sets.get(id) else { continue };
            if part.value.over.is_none() && self.is_over(&part.value.sets) {
                if let Some(part) = self.rule_sets.get_mut(id) {
                    part.value.over = Some(OverBudget::Members);
                }
                self.over.insert(id);
            }
            self.store_sets(id);
        }
        self.sets.fill(cluster);
    }

    /// Looks which namespaces have gone over budget, or came back; one of these sets may have other members.
    fn review_tenancies(&mut self, counted: &BTreeSet<u32>) {
        let sets = &self.sets.registry;
        let count = |set| sets.get(set).map_or(0, |part| part.value.count);
        for Crossing { namespace, over, rule_sets } in self.tenancies.review(counted, count) {
            self.crossed.insert(namespace);
            for (id, groups) in rule_sets {
                if let Some(part) = self.rule_sets.get_mut(id) {
                    let live = &mut part.value.live;
                    *live = if over { *live - groups } else { *live + groups };
                }
                self.store_sets(id);
            }
        }
    }

    /// Whether what a namespace looks up is over budget.
    pub(in crate::translate) fn is_namespace_over(&self, namespace: u32) -> bool {
        self.tenancies.is_over(namespace)
    }

    /// The namespaces that look up too much, with how many members that has and how many it may have.
    pub(in crate::translate) fn namespaces_over(
        &self,
    ) -> impl Iterator<Item = (u32, OverBudget, (u64, u64))> {
        let count = |set| self.sets.registry.get(set).map_or(0, |part| part.value.count);
        self.tenancies.all_over().iter().map(move |namespace| {
            let members = self.tenancies.members(*namespace, count);
            (*namespace, OverBudget::Addresses, (members, self.members))
        })
    }

    /// Whether some rule set or namespace is over budget.
    pub(in crate::translate) fn any_over_budget(&self) -> bool {
        !self.over.is_empty() || !self.tenancies.all_over().is_empty()
    }

    fn is_over(&self, sets: &[u32]) -> bool {
        let counts = sets.iter().filter_map(|set| self.sets.registry.get(*set)).map(|part| part.value.count);
        sets.len() > FEW_SETS && counts.sum::<usize>() > budget::MEMBERS
    }

    /// Looks again at rule sets and namespaces that look up one of these sets. Rule sets that went over budget, or came
    /// back, and namespaces that did.
    pub(in crate::translate) fn review(
        &mut self,
        counted: &BTreeSet<u32>,
        cluster: &Cluster,
    ) -> (Vec<u32>, BTreeSet<u32>) {
        self.review_tenancies(counted);
        for id in std::mem::take(&mut self.uncounted) {
            self.store_sets(id);
        }
        let users = counted.iter().flat_map(|set| self.wide.range((*set, 0)..=(*set, u32::MAX)));
        let users: BTreeSet<u32> = users.map(|(_, id)| *id).collect();
        let mut crossed = Vec::new();
        for id in users {
            let Some(part) = self.rule_sets.get(id) else { continue };
            let sets = part.value.sets.clone();
            let (was, is) = (part.value.over.is_some(), self.is_over(&sets));
            if was == is {
                continue;
            }
            if let Some(part) = self.rule_sets.get_mut(id) {
                part.value.over = is.then_some(OverBudget::Members);
            }
            self.store_sets(id);
            if is {
                self.over.insert(id)
            } else {
                self.over.remove(&id)
            };
            crossed.push(id);
        }
        self.sets.fill(cluster);
        (crossed, std::mem::take(&mut self.crossed))
    }
}
