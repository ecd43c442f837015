//! How many addresses the sets hold that the policies of one namespace look up, and which namespaces have too many.

use std::collections::{BTreeSet, HashMap};

use fnv::FnvBuildHasher;

use crate::translate::budget::Budgets;
use crate::translate::counts::Counts;

/// What a namespace looks up.
#[derive(Debug, Default)]
struct Tenancy {
    /// The rule sets of its groups, and how many groups have each.
    rule_sets: Counts,
    /// The sets, and how many of the rule sets look each up.
    sets: Counts,
}

/// A namespace that has gone over budget, or came back.
pub(super) struct Crossing {
    pub(super) namespace: u32,
    pub(super) over: bool,
    /// Its rule sets, and how many of its groups have each.
    pub(super) rule_sets: Vec<(u32, u32)>,
}

/// What each namespace looks up.
#[derive(Debug)]
pub(super) struct Tenancies {
    budgets: Budgets,
    tenancies: HashMap<u32, Tenancy, FnvBuildHasher>,
    /// Namespaces with many sets, by set.
    wide: BTreeSet<(u32, u32)>,
    /// Those that may look up more than at the last review.
    changed: BTreeSet<u32>,
    /// Those over budget: as of the last review.
    over: BTreeSet<u32>,
}

impl Tenancies {
    pub(super) fn new(budgets: Budgets) -> Self {
        Self {
            budgets,
            tenancies: HashMap::default(),
            wide: BTreeSet::new(),
            changed: BTreeSet::new(),
            over: BTreeSet::new(),
        }
    }

    /// A group of a namespace has a rule set, which looks up these sets; whether the namespace is within budget as far
    /// as is known.
    pub(super) fn enter(&mut self, namespace: u32, rules: u32, sets: &[u32]) -> bool {
        let tenancy = self.tenancies.entry(namespace).or_default();
        if tenancy.rule_sets.add(rules) == 1 {
            let before = tenancy.sets.len();
            for set in sets {
                tenancy.sets.add(*set);
            }
            if tenancy.sets.len() > self.budgets.few_sets {
                let new = if before > self.budgets.few_sets {
                    sets
                } else {
                    &tenancy.sets.ids().collect::<Vec<u32>>()
                };
                self.wide.extend(new.iter().map(|set| (*set, namespace)));
                self.changed.insert(namespace);
            }
        }
        !self.over.contains(&namespace)
    }

    /// A group of a namespace has a rule set no longer; whether the namespace was within budget.
    pub(super) fn leave(&mut self, namespace: u32, rules: u32, sets: &[u32]) -> bool {
        let Some(tenancy) = self.tenancies.get_mut(&namespace) else { return true };
        let within = !self.over.contains(&namespace);
        if tenancy.rule_sets.remove(rules) != Some(0) {
            return within;
        }
        let before = tenancy.sets.len();
        for set in sets {
            if tenancy.sets.remove(*set) == Some(0) {
                self.wide.remove(&(*set, namespace));
            }
        }
        if before > self.budgets.few_sets {
            self.changed.insert(namespace);
            if tenancy.sets.len() <= self.budgets.few_sets {
                tenancy.sets.ids().for_each(|set| _ = self.wide.remove(&(set, namespace)));
            }
        }
        if tenancy.rule_sets.is_empty() {
            self.tenancies.remove(&namespace);
            self.over.remove(&namespace);
        }
        within
    }

    /// Whether a namespace looks up so many sets that they are counted before they are stored.
    pub(super) fn is_wide(&self, namespace: u32) -> bool {
        self.tenancies.get(&namespace).is_some_and(|tenancy| tenancy.sets.len() > self.budgets.few_sets)
    }

    /// Whether a namespace is over budget.
    pub(super) fn is_over(&self, namespace: u32) -> bool {
        self.over.contains(&namespace)
    }

    /// The namespaces over budget.
    pub(super) const fn all_over(&self) -> &BTreeSet<u32> {
        &self.over
    }

    /// How many members the sets of a namespace have, of which `count` knows each.
    pub(super) fn members(&self, namespace: u32, count: impl Fn(u32) -> usize) -> u64 {
        let Some(tenancy) = self.tenancies.get(&namespace) else { return 0 };
        tenancy.sets.ids().map(|set| count(set) as u64).sum()
    }

    /// Looks again at the namespaces that look up other sets than before, or one of these whose members have changed.
    /// Those that have gone over budget, or came back.
    pub(super) fn review<'a>(
        &mut self,
        counted: impl IntoIterator<Item = &'a u32>,
        count: impl Fn(u32) -> usize,
    ) -> Vec<Crossing> {
        let mut namespaces = std::mem::take(&mut self.changed);
        for set in counted {
            namespaces.extend(self.wide.range((*set, 0)..=(*set, u32::MAX)).map(|(_, namespace)| *namespace));
        }
        let mut news = Vec::new();
        for namespace in namespaces {
            let over = self.is_wide(namespace) && self.members(namespace, &count) > self.budgets.members;
            let Some(tenancy) = self.tenancies.get(&namespace) else { continue };
            if if over { self.over.insert(namespace) } else { self.over.remove(&namespace) } {
                news.push(Crossing { namespace, over, rule_sets: tenancy.rule_sets.iter().collect() });
            }
        }
        news
    }
}
