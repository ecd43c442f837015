//! How many addresses the sets hold that the policies of one namespace look up, and which namespaces have too many.

use std::collections::{BTreeSet, HashMap};

use fnv::FnvBuildHasher;

use crate::collections::counts::Counts;
use crate::collections::ids::{Id, NamespaceId, RuleSetId, SetId};
use crate::invariant::bug;
use crate::translate::budget::Budgets;

/// What a namespace looks up.
#[derive(Debug, Default)]
struct NamespaceLookups {
    /// The rule sets of its groups, and how many groups have each.
    rule_sets: Counts<RuleSetId>,
    /// The sets, and how many of the rule sets look each up.
    sets: Counts<SetId>,
}

/// A namespace that has gone over budget, or came back.
pub(in crate::translate) struct BudgetCrossing {
    pub(in crate::translate) namespace: NamespaceId,
    pub(in crate::translate) over: bool,
    /// Its rule sets, and how many of its groups have each.
    pub(in crate::translate) rule_sets: Vec<(RuleSetId, u32)>,
}

/// What each namespace looks up.
#[derive(Debug)]
pub(in crate::translate) struct LookupBudgets {
    budgets: Budgets,
    namespaces: HashMap<NamespaceId, NamespaceLookups, FnvBuildHasher>,
    /// Namespaces with many sets, by set.
    wide: BTreeSet<(SetId, NamespaceId)>,
    /// Those that may look up more than at the last review.
    changed: BTreeSet<NamespaceId>,
    /// Those over budget: as of the last review.
    over: BTreeSet<NamespaceId>,
}

impl LookupBudgets {
    pub(in crate::translate) fn new(budgets: Budgets) -> Self {
        Self {
            budgets,
            namespaces: HashMap::default(),
            wide: BTreeSet::new(),
            changed: BTreeSet::new(),
            over: BTreeSet::new(),
        }
    }

    /// A group of a namespace has a rule set, which looks up these sets. Returns true if the namespace is within
    /// budget as far as is known.
    pub(in crate::translate) fn enter(
        &mut self,
        namespace: NamespaceId,
        rules: RuleSetId,
        sets: &[SetId],
    ) -> bool {
        let of_namespace = self.namespaces.entry(namespace).or_default();
        // Only the first of its groups with this rule set brings sets along.
        if of_namespace.rule_sets.add(rules) == 1 {
            let before = of_namespace.sets.len();
            for set in sets {
                of_namespace.sets.add(*set);
            }
            if of_namespace.sets.len() > self.budgets.few_sets {
                // Sets of a namespace are filed once it has many, and then all of them.
                let new = if before > self.budgets.few_sets {
                    sets
                } else {
                    &of_namespace.sets.ids().collect::<Vec<SetId>>()
                };
                self.wide.extend(new.iter().map(|set| (*set, namespace)));
                self.changed.insert(namespace);
            }
        }
        !self.over.contains(&namespace)
    }

    /// A group of a namespace has a rule set no longer. Returns true if the namespace was within budget.
    pub(in crate::translate) fn leave(
        &mut self,
        namespace: NamespaceId,
        rules: RuleSetId,
        sets: &[SetId],
    ) -> bool {
        let Some(of_namespace) = self.namespaces.get_mut(&namespace) else {
            bug!("{namespace:?} has no rule set, nor has it {rules:?}");
            return true;
        };
        let within = !self.over.contains(&namespace);
        match of_namespace.rule_sets.remove(rules) {
            Some(0) => {}
            Some(_) => return within,
            None => {
                bug!("{namespace:?} does not have {rules:?}");
                return within;
            }
        }
        let before = of_namespace.sets.len();
        for set in sets {
            match of_namespace.sets.remove(*set) {
                Some(0) => _ = self.wide.remove(&(*set, namespace)),
                Some(_) => {}
                None => bug!("{namespace:?} does not look up {set:?}, which {rules:?} does"),
            }
        }
        if before > self.budgets.few_sets {
            self.changed.insert(namespace);
            // It has few again, whose members are not added up, so its other sets leave the index as well.
            if of_namespace.sets.len() <= self.budgets.few_sets {
                of_namespace.sets.ids().for_each(|set| _ = self.wide.remove(&(set, namespace)));
            }
        }
        // When it comes back it is within budget until reviewed, as it would be in a translation from nothing.
        if of_namespace.rule_sets.is_empty() {
            self.namespaces.remove(&namespace);
            self.over.remove(&namespace);
        }
        within
    }

    /// Returns true if a namespace looks up so many sets that they are counted before they are stored.
    pub(in crate::translate) fn is_wide(&self, namespace: NamespaceId) -> bool {
        self.namespaces
            .get(&namespace)
            .is_some_and(|of_namespace| of_namespace.sets.len() > self.budgets.few_sets)
    }

    /// Returns true if a namespace is over budget.
    pub(in crate::translate) fn is_over(&self, namespace: NamespaceId) -> bool {
        self.over.contains(&namespace)
    }

    /// The namespaces over budget.
    pub(in crate::translate) const fn all_over(&self) -> &BTreeSet<NamespaceId> {
        &self.over
    }

    /// How many members the sets of a namespace have, of which `count` knows each.
    pub(in crate::translate) fn members(&self, namespace: NamespaceId, count: impl Fn(SetId) -> u64) -> u64 {
        let Some(of_namespace) = self.namespaces.get(&namespace) else { return 0 };
        of_namespace.sets.ids().map(count).sum()
    }

    /// Looks again at the namespaces that look up other sets than before, or one of these whose members have changed.
    /// Those that have gone over budget, or came back.
    pub(in crate::translate) fn review<'a>(
        &mut self,
        counted: impl IntoIterator<Item = &'a SetId>,
        count: impl Fn(SetId) -> u64,
    ) -> Vec<BudgetCrossing> {
        let mut namespaces = std::mem::take(&mut self.changed);
        for set in counted {
            let users = self.wide.range((*set, NamespaceId::FIRST)..=(*set, NamespaceId::LAST));
            namespaces.extend(users.map(|(_, namespace)| *namespace));
        }
        let mut news = Vec::new();
        for namespace in namespaces {
            let over = self.is_wide(namespace) && self.members(namespace, &count) > self.budgets.members;
            // Its last rule set may be gone.
            let Some(of_namespace) = self.namespaces.get(&namespace) else { continue };
            if if over { self.over.insert(namespace) } else { self.over.remove(&namespace) } {
                news.push(BudgetCrossing {
                    namespace,
                    over,
                    rule_sets: of_namespace.rule_sets.iter().collect(),
                });
            }
        }
        news
    }
}
