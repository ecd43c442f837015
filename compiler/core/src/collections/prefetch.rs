//! Prefetching: what many things refer to is read in a row, nearest first, before it is needed one by one.
//!
//! The objects of a cluster lie all over memory: a pod leads to its group, that to a rule set, that to its sets, and every
//! step waits for the one before. The steps of different pods do not depend on each other, so the processor has their
//! answers under way at once where they follow closely: ten reads cost little more than one. Nothing but time depends on
//! it. What translation prefetches is in `translate/prefetch.rs`.

use std::hint::black_box;
use std::ptr;

use crate::output::{AddressSet, IsolatedPod, Output, RuleSet};

/// Reads all these values and forgets them.
pub(crate) fn read<T>(values: impl IntoIterator<Item = T>) {
    values.into_iter().for_each(|value| _ = black_box(value));
}

/// Prefetches what laying `output` out reads.
pub(crate) fn of_output(output: &Output) {
    let rule_sets = output.node_rules().isolated.values().flat_map(IsolatedPod::rule_sets);
    let mut rule_sets: Vec<&RuleSet> = rule_sets.map(|rules| &**rules).collect();
    // All isolated may have the same, and it may be long.
    rule_sets.sort_unstable_by_key(|rules| ptr::from_ref(*rules));
    rule_sets.dedup_by(|a, b| ptr::eq(*a, *b));
    read(rule_sets.iter().map(|rules| rules.name));
    read(rule_sets.iter().map(|rules| rules.contested.is_empty()));
    let of_ports = rule_sets.iter().flat_map(|rules| rules.ports.iter());
    read(of_ports.map(|(_, union)| union.name));
    let unions = rule_sets.iter().flat_map(|rules| rules.unions());
    read(unions.filter_map(|union| union.pods.as_ref()).map(|pods| pods.name));
    let sets: Vec<&AddressSet> = output.sets().iter().map(|set| &**set).collect();
    read(sets.iter().map(|set| set.v4.is_empty()));
    read(sets.iter().map(|set| set.definition.name));
    read(sets.iter().map(|set| set.v4.len() as u64));
    read(sets.iter().map(|set| set.v6.len() as u64));
}
