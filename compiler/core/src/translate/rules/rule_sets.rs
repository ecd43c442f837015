//! The rule sets in use, and the unions and sets of blocks that they are made of: what is equal is interned once, held by
//! those that refer to it. They are values of the output, and say by themselves what they hold.
//!
//! ```text
//! merged rules ─▶ rule set ┬─▶ sets of pods (`sets/`), stored as budgets allow
//!                          └─▶ unions of peers ─┬─▶ sets of pods
//!                                               └─▶ sets of blocks, by family
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::collections::count::Count;
use crate::collections::ids::{Blocks4Id, Blocks6Id, Id, NamespaceId, RuleSetId, SetId, UnionId};
use crate::collections::interner::Interner;
use crate::output::{BlockSet, NamedRanges, RuleSet, Union};
use crate::translate::budget::load::Load;
use crate::translate::budget::lookups::{BudgetCrossing, LookupBudgets};
use crate::translate::budget::{self, Budgets, OverBudget};
use crate::translate::index::cluster::Cluster;
use crate::translate::index::peers::PeerIndex;
use crate::translate::sets::AddressSets;

/// A rule set has a budget of members if it looks up more different sets than this. Fewer could only go over it in a
/// cluster of half a million pods.
const FEW_SETS: usize = 8;

/// A rule set, and what it refers to.
#[derive(Debug)]
pub(in crate::translate) struct RuleSetEntry {
    pub(in crate::translate) rules: Arc<RuleSet>,
    /// Every set that its chains look up, each once, in order.
    pub(in crate::translate) sets: SmallVec<[SetId; 4]>,
    /// Whether it has gone over budget: its pods are closed.
    pub(in crate::translate) over: Option<OverBudget>,
    /// What it comes to by itself, without the sets of pods that it looks up.
    load: Load,
    /// How many groups of namespaces within budget have it.
    live: Count,
    /// Whether it has its sets stored: it is within budget, and so is a namespace that has it.
    stores: bool,
}

/// Every part that outputs are made of.
#[derive(Debug)]
pub(in crate::translate) struct RuleSets {
    pub(in crate::translate) interner: Interner<RuleSetId, RuleSetEntry>,
    /// Unions with a chain of their own.
    unions: Interner<UnionId, Arc<Union>>,
    blocks4: Interner<Blocks4Id, Arc<NamedRanges<u32>>>,
    blocks6: Interner<Blocks6Id, Arc<NamedRanges<u128>>>,
    pub(in crate::translate) sets: AddressSets,
    /// Rule sets with many sets, by set.
    wide: BTreeSet<(SetId, RuleSetId)>,
    /// Rule sets over budget.
    over: BTreeSet<RuleSetId>,
    /// New rule sets with many sets, whose members have not been counted yet; and those of namespaces with many.
    uncounted: Vec<RuleSetId>,
    lookups: LookupBudgets,
    /// Namespaces that have gone over budget since the last review, or came back.
    crossed: BTreeSet<NamespaceId>,
    /// The most addresses that the sets of one namespace may hold.
    members: u64,
}

/// What holding rule sets needs beside them.
pub(in crate::translate) struct IndexesMut<'a> {
    pub(in crate::translate) cluster: &'a mut Cluster,
    pub(in crate::translate) peers: &'a mut PeerIndex,
}

impl RuleSets {
    pub(in crate::translate) fn new(budgets: Budgets) -> Self {
        Self {
            interner: Interner::new(),
            unions: Interner::new(),
            blocks4: Interner::new(),
            blocks6: Interner::new(),
            sets: AddressSets::new(),
            wide: BTreeSet::new(),
            over: BTreeSet::new(),
            uncounted: Vec::new(),
            lookups: LookupBudgets::new(budgets),
            crossed: BTreeSet::new(),
            members: budgets.members,
        }
    }

    /// The id of a rule set of which nothing is shared yet, which one more group of a namespace has. The sets that it looks
    /// up are not stored before [`Self::fill`].
    pub(in crate::translate) fn hold(
        &mut self,
        rules: RuleSet,
        namespace: NamespaceId,
        indexes: &mut IndexesMut<'_>,
    ) -> RuleSetId {
        let known = self.interner.find(&rules.identity, &rules.name);
        let id = known.unwrap_or_else(|| self.add(rules, indexes));
        self.interner.hold(id);
        if let Some(part) = self.interner.there_mut(id)
            && self.lookups.enter(namespace, id, &part.value.sets)
        {
            part.value.live.one_more();
        }
        self.use_sets(id, namespace);
        id
    }

    fn add(&mut self, mut rules: RuleSet, indexes: &mut IndexesMut<'_>) -> RuleSetId {
        let mut sets: SmallVec<[SetId; 4]> = SmallVec::new();
        sets.extend(self.share_parts(&mut rules.any_port, indexes));
        // Each range holds its union, also if several have the same one: sweeping releases it for each.
        sets.extend(rules.ports.iter_mut().filter_map(|(_, union)| self.share(union, indexes)));
        let named = rules.named.iter_mut();
        sets.extend(named.map(|set| self.sets.hold(set, indexes.cluster, indexes.peers)));
        sets.sort_unstable();
        sets.dedup();
        let (identity, name) = (rules.identity, rules.name);
        let part = RuleSetEntry {
            load: load_alone(&rules),
            rules: Arc::new(rules),
            sets,
            over: None,
            live: Count::default(),
            stores: false,
        };
        let id = self.interner.add(identity, name, part);
        let sets = self.interner.there(id).map_or(&[][..], |part| &part.value.sets);
        if sets.len() > FEW_SETS {
            self.wide.extend(sets.iter().map(|set| (*set, id)));
        }
        id
    }

    /// Has a union be the one that all share, which one more holds; its set of pods.
    fn share(&mut self, union: &mut Arc<Union>, indexes: &mut IndexesMut<'_>) -> Option<SetId> {
        if let Some(id) = self.unions.find(&union.identity, &union.name) {
            self.unions.hold(id).into_iter().for_each(|shared| *union = Arc::clone(shared));
            return union.pods.as_ref().and_then(|set| self.sets.id_of(set));
        }
        // Most are new and of one range, so that nothing is copied.
        let set = self.share_parts(Arc::make_mut(union), indexes);
        let id = self.unions.add(union.identity, union.name, Arc::clone(union));
        self.unions.hold(id);
        set
    }

    /// Has what a new union refers to be what all share, which one more holds; its set of pods.
    fn share_parts(&mut self, union: &mut Union, indexes: &mut IndexesMut<'_>) -> Option<SetId> {
        share_blocks(&mut self.blocks4, &mut union.v4);
        share_blocks(&mut self.blocks6, &mut union.v6);
        union.pods.as_mut().map(|set| self.sets.hold(set, indexes.cluster, indexes.peers))
    }

    /// A group of a namespace has a rule set no longer.
    pub(in crate::translate) fn release(&mut self, id: RuleSetId, namespace: NamespaceId) {
        if let Some(part) = self.interner.there_mut(id)
            && self.lookups.leave(namespace, id, &part.value.sets)
            && part.value.live.one_fewer() == 0
        {
            // No group within budget has it any more. The next review decides whether its sets stay stored.
            self.uncounted.push(id);
        }
        self.interner.release(id);
    }

    /// Forgets what nobody holds any more.
    pub(in crate::translate) fn sweep(&mut self, indexes: &mut IndexesMut<'_>) {
        // From what refers to what is referred to: each releases what only it held, which is swept next.
        for (id, part) in self.interner.sweep() {
            if part.value.stores {
                part.value.sets.iter().for_each(|set| self.sets.discard(*set));
            }
            part.value.sets.iter().for_each(|set| _ = self.wide.remove(&(*set, id)));
            self.over.remove(&id);
            let RuleSet { any_port, ports, named, .. } = &*part.value.rules;
            for (_, union) in ports {
                let id = self.unions.id_of(&union.identity, &union.name);
                id.into_iter().for_each(|id| self.unions.release(id));
            }
            named.iter().for_each(|set| self.sets.release(set));
            self.release_parts(any_port);
        }
        for (_, part) in self.unions.sweep() {
            self.release_parts(&part.value);
        }
        self.blocks4.sweep();
        self.blocks6.sweep();
        self.sets.sweep(indexes.cluster, indexes.peers);
    }

    fn release_parts(&mut self, union: &Union) {
        union.pods.iter().for_each(|set| self.sets.release(set));
        release_blocks(&mut self.blocks4, &union.v4);
        release_blocks(&mut self.blocks6, &union.v6);
    }

    // Which sets are stored: those of rule sets and namespaces within their budgets of members. Others are counted, so that
    // it is noticed when they come back.

    /// Has the sets of a rule set stored that a group has; if they are many, or those of its namespace, once it is known
    /// how large they are.
    pub(in crate::translate) fn use_sets(&mut self, id: RuleSetId, namespace: NamespaceId) {
        let Some(part) = self.interner.there(id) else { return };
        if part.value.stores {
            return;
        }
        if part.value.sets.len() > FEW_SETS || self.lookups.is_wide(namespace) {
            self.uncounted.push(id);
        } else {
            self.store_sets(id);
        }
    }

    /// Has the sets of a rule set stored, or not any more, as budgets allow now.
    fn store_sets(&mut self, id: RuleSetId) {
        let Some(part) = self.interner.there_mut(id) else { return };
        let part = &mut part.value;
        let stores = !part.live.is_zero() && part.over.is_none();
        // Sets count who wants them stored, so each rule set says it once, and takes it back once.
        if std::mem::replace(&mut part.stores, stores) != stores {
            for set in &part.sets {
                if stores { self.sets.store(*set) } else { self.sets.discard(*set) }
            }
        }
    }

    /// Makes the members of new sets, and decides which new rule sets and namespaces are within budget.
    pub(in crate::translate) fn fill(&mut self, cluster: &Cluster) {
        // First they are counted, since budgets are of counts; the second call stores what these allow.
        self.sets.fill(cluster);
        self.review_lookups(&BTreeSet::new());
        for id in std::mem::take(&mut self.uncounted) {
            let Some(part) = self.interner.there(id) else { continue };
            // What is closed already is looked at again by its reviews.
            let over = part.value.over.or_else(|| self.over_of(id));
            self.set_over(id, over);
        }
        self.sets.fill(cluster);
    }

    /// Looks which namespaces have gone over budget, or came back; one of these sets may have other members.
    fn review_lookups(&mut self, counted: &BTreeSet<SetId>) {
        let sets = &self.sets.interner;
        let count = |set: SetId| sets.there(set).map_or(0, |part| part.value.count.get());
        for BudgetCrossing { namespace, over, rule_sets } in self.lookups.review(counted, count) {
            self.crossed.insert(namespace);
            for (id, groups) in rule_sets {
                if let Some(part) = self.interner.there_mut(id) {
                    let live = &mut part.value.live;
                    if over { live.sub(groups) } else { live.add(groups) }
                }
                self.store_sets(id);
            }
        }
    }

    /// Returns true if what a namespace looks up is over budget.
    pub(in crate::translate) fn is_namespace_over(&self, namespace: NamespaceId) -> bool {
        self.lookups.is_over(namespace)
    }

    /// The namespaces that look up too much, with how many members that has and how many it may have.
    pub(in crate::translate) fn namespaces_over(
        &self,
    ) -> impl Iterator<Item = (NamespaceId, OverBudget, (u64, u64))> {
        let count = |set: SetId| self.sets.interner.there(set).map_or(0, |part| part.value.count.get());
        self.lookups.all_over().iter().map(move |namespace| {
            let members = self.lookups.members(*namespace, count);
            (*namespace, OverBudget::Addresses, (members, self.members))
        })
    }

    /// Returns true if some rule set or namespace is over budget.
    pub(in crate::translate) fn any_over_budget(&self) -> bool {
        !self.over.is_empty() || !self.lookups.all_over().is_empty()
    }

    fn looks_up_too_much(&self, sets: &[SetId]) -> bool {
        let parts = sets.iter().filter_map(|set| self.sets.interner.there(*set));
        let counts = parts.map(|part| part.value.count.get());
        sets.len() > FEW_SETS && counts.sum::<u64>() > budget::MEMBERS
    }

    /// Closes the rule sets that share a name with another, or have a part that does, and opens those that did so before;
    /// which these are. To be asked once what nobody holds is gone.
    ///
    /// It looks at all of them: nobody has found two SHA-256 values with one name yet.
    pub(in crate::translate) fn review_names(&mut self, cluster: &Cluster) -> Vec<RuleSetId> {
        let news = [
            self.sets.interner.take_news(),
            self.blocks4.take_news(),
            self.blocks6.take_news(),
            self.unions.take_news(),
            self.interner.take_news(),
        ];
        if !news.contains(&true) {
            return Vec::new();
        }
        let all = self.interner.iter().map(|(id, part)| (id, part.value.over, self.over_of(id)));
        let crossed: Vec<_> = all.filter(|(_, was, is)| was != is).map(|(id, _, is)| (id, is)).collect();
        for (id, over) in &crossed {
            self.set_over(*id, *over);
        }
        self.sets.fill(cluster);
        crossed.into_iter().map(|(id, _)| id).collect()
    }

    /// Why a rule set is closed, if it is.
    fn over_of(&self, id: RuleSetId) -> Option<OverBudget> {
        let part = &self.interner.there(id)?.value;
        let RuleSet { name, ports, named, .. } = &*part.rules;
        let is_ambiguous = self.interner.is_ambiguous(name)
            || ports.iter().any(|(_, union)| self.unions.is_ambiguous(&union.name))
            || named.iter().any(|set| self.sets.interner.is_ambiguous(&set.name))
            || part.rules.unions().any(|Union { pods, v4, v6, .. }| {
                pods.as_ref().is_some_and(|set| self.sets.interner.is_ambiguous(&set.name))
                    || v4.ranges().is_some_and(|it| self.blocks4.is_ambiguous(&it.name))
                    || v6.ranges().is_some_and(|it| self.blocks6.is_ambiguous(&it.name))
            });
        if is_ambiguous {
            return Some(OverBudget::Ambiguous);
        }
        self.looks_up_too_much(&part.sets).then_some(OverBudget::Members)
    }

    /// Closes a rule set, or opens it.
    fn set_over(&mut self, id: RuleSetId, over: Option<OverBudget>) {
        if let Some(part) = self.interner.there_mut(id) {
            part.value.over = over;
        }
        if over.is_some() {
            self.over.insert(id)
        } else {
            self.over.remove(&id)
        };
        self.store_sets(id);
    }

    /// Looks again at rule sets and namespaces that look up one of these sets. Rule sets that went over budget, or came
    /// back, and namespaces that did.
    pub(in crate::translate) fn review(
        &mut self,
        counted: &BTreeSet<SetId>,
        cluster: &Cluster,
    ) -> (Vec<RuleSetId>, BTreeSet<NamespaceId>) {
        self.review_lookups(counted);
        for id in std::mem::take(&mut self.uncounted) {
            self.store_sets(id);
        }
        let users = counted
            .iter()
            .flat_map(|set| self.wide.range((*set, RuleSetId::FIRST)..=(*set, RuleSetId::LAST)));
        let users: BTreeSet<RuleSetId> = users.map(|(_, id)| *id).collect();
        let mut crossed = Vec::new();
        for id in users {
            let Some(part) = self.interner.there(id) else { continue };
            let over = self.over_of(id);
            if part.value.over == over {
                continue;
            }
            self.set_over(id, over);
            crossed.push(id);
        }
        self.sets.fill(cluster);
        (crossed, std::mem::take(&mut self.crossed))
    }

    // What rule sets come to on a node: each part once, however many of them have it.

    /// What these rule sets come to without the sets of pods that they look up: no less than it is, and cheap to tell.
    pub(in crate::translate) fn load_at_most<'a>(
        &self,
        rule_sets: impl IntoIterator<Item = &'a RuleSetId>,
    ) -> Load {
        let parts = rule_sets.into_iter().filter_map(|id| self.interner.there(*id));
        parts.map(|part| part.value.load).sum()
    }

    /// What these rule sets come to with the sets of pods that they look up, in a cluster with so many families.
    pub(in crate::translate) fn load(&self, rule_sets: &BTreeSet<RuleSetId>, families: u64) -> Load {
        let parts = || rule_sets.iter().filter_map(|id| self.interner.there(*id)).map(|part| &part.value);
        let chained = each_once(parts().flat_map(|part| part.rules.ports.iter().map(|(_, union)| union)));
        let unions = || parts().map(|part| &part.rules.any_port).chain(chained.iter().map(|union| &***union));
        let v4 = each_once(unions().filter_map(|union| union.v4.ranges()));
        let v6 = each_once(unions().filter_map(|union| union.v6.ranges()));
        let sets: BTreeSet<SetId> = parts().flat_map(|part| part.sets.iter().copied()).collect();
        let rules: Load = parts().map(|part| Load::of_rules(&part.rules)).sum();
        let chains: Load = chained.iter().map(|union| Load::of_chain(union)).sum();
        let v4 = v4.into_iter().map(|blocks| Load::of_ranges(blocks));
        let v6 = v6.into_iter().map(|blocks| Load::of_ranges(blocks));
        // A set that is only counted is looked up by what is closed, and so in no table.
        let stored = sets.iter().filter_map(|id| self.sets.interner.there(*id)?.value.stored.as_ref());
        rules + chains + v4.chain(v6).chain(stored.map(|set| Load::of_set(set, families))).sum()
    }
}

/// What a rule set comes to with all that it refers to but the sets of pods, which it may share with others.
fn load_alone(rules: &RuleSet) -> Load {
    let chained = each_once(rules.ports.iter().map(|(_, union)| union));
    let unions = chained.iter().map(|union| &***union).chain([&rules.any_port]);
    let sets: Load = unions.map(|union| Load::of_blocks(&union.v4) + Load::of_blocks(&union.v6)).sum();
    Load::of_rules(rules) + chained.iter().map(|union| Load::of_chain(union)).sum() + sets
}

/// Shared values, each once.
fn each_once<'a, T>(values: impl Iterator<Item = &'a Arc<T>>) -> Vec<&'a Arc<T>> {
    let mut values: Vec<_> = values.collect();
    // By pointer: what is equal has been interned, and is one value.
    values.sort_unstable_by_key(|value| Arc::as_ptr(value));
    values.dedup_by(|a, b| Arc::ptr_eq(a, b));
    values
}

/// Has the blocks of one family be those that all share, which one more holds, if they need a set.
fn share_blocks<I: Id, T>(interner: &mut Interner<I, Arc<NamedRanges<T>>>, blocks: &mut BlockSet<T>) {
    let BlockSet::Some(ranges) = blocks else { return };
    let id = interner
        .find(&ranges.identity, &ranges.name)
        .unwrap_or_else(|| interner.add(ranges.identity, ranges.name, Arc::clone(ranges)));
    interner.hold(id).into_iter().for_each(|shared| *ranges = Arc::clone(shared));
}

/// One fewer holds these blocks.
fn release_blocks<I: Id, T>(interner: &mut Interner<I, Arc<NamedRanges<T>>>, blocks: &BlockSet<T>) {
    let id = blocks.ranges().and_then(|ranges| interner.id_of(&ranges.identity, &ranges.name));
    id.into_iter().for_each(|id| interner.release(id));
}

#[cfg(test)]
#[path = "rule_sets_tests.rs"]
mod tests;
