//! Asking memory for what an output refers to before it is laid out, nearest first.

use std::ptr;

use crate::ahead::ask;
use crate::output::{MemberSet, Output, RuleSet, Subject};

/// Asks for what laying `output` out reads.
pub(super) fn ask_for(output: &Output) {
    let rule_sets = output.frame().subjects.values().flat_map(Subject::rule_sets);
    let mut rule_sets: Vec<&RuleSet> = rule_sets.map(|rules| &**rules).collect();
    // All subjects may have the same, and it may be long.
    rule_sets.sort_unstable_by_key(|rules| ptr::from_ref(*rules));
    rule_sets.dedup_by(|a, b| ptr::eq(*a, *b));
    ask(rule_sets.iter().map(|rules| rules.name.short()));
    ask(rule_sets.iter().map(|rules| rules.contested.is_empty()));
    let peers = || rule_sets.iter().flat_map(|rules| rules.ports.iter().map(|(_, peers)| &**peers));
    ask(peers().map(|peers| peers.name.short()));
    let unions = rule_sets.iter().map(|rules| &rules.any_port).chain(peers().map(|peers| &peers.union));
    ask(unions.filter_map(|union| union.pods.as_ref()).map(|pods| pods.name.short()));
    let sets: Vec<&MemberSet> = output.sets().iter().map(|set| &**set).collect();
    ask(sets.iter().map(|set| set.v4.is_empty()));
    ask(sets.iter().map(|set| set.definition.name.short()));
    ask(sets.iter().map(|set| set.v4.len() as u64));
    ask(sets.iter().map(|set| set.v6.len() as u64));
}
