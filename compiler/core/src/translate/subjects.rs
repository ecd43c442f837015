//! Policies by the selector of their subjects: which rules apply to a pod.
//!
//! Rules are interned by content, so a thousand policies that say the same are one, and a pod's group is told by
//! numbers.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use super::cluster::{Cluster, PodEntry};
use super::select::{Pivots, Scope, SelectorIndex};
use crate::object::{Direction, Policy, PortMatch, PortName, Rule, RulePorts};
use crate::port::Protocol;

/// The rules of one policy in one direction.
#[derive(Debug)]
pub(super) struct RulesEntry {
    pub(super) rules: Arc<[Rule]>,
    /// The port names that they use, each once, in order.
    pub(super) names: Box<[(Protocol, PortName)]>,
    holders: u32,
}

/// The policies of one namespace that select the same subjects in one direction.
#[derive(Debug)]
struct SubjectsEntry {
    /// Their rules, with how many policies say them; ordered.
    rules: Vec<(u32, u32)>,
}

/// Every policy's subjects and rules.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    rules: Slab<RulesEntry>,
    by_rules: HashMap<Arc<[Rule]>, u32>,
    entries: Slab<SubjectsEntry>,
    index: SelectorIndex,
}

fn number(key: usize) -> u32 {
    // Four billion policies do not fit into memory.
    u32::try_from(key).unwrap_or(u32::MAX)
}

impl Subjects {
    pub(super) fn rules(&self, id: u32) -> Option<&RulesEntry> {
        self.rules.get(id as usize)
    }

    /// The number of rules that a policy has, if some policy has them.
    pub(super) fn find(&self, rules: &[Rule]) -> Option<u32> {
        self.by_rules.get(rules).copied()
    }

    /// One more holds these rules.
    pub(super) fn hold_rules(&mut self, rules: &Arc<[Rule]>) -> u32 {
        let id = self.by_rules.get(rules).copied().unwrap_or_else(|| {
            let entry = RulesEntry { rules: Arc::clone(rules), names: names_of(rules), holders: 0 };
            let id = number(self.rules.insert(entry));
            self.by_rules.insert(Arc::clone(rules), id);
            id
        });
        self.keep_rules(id);
        id
    }

    /// One more holds these rules.
    pub(super) fn keep_rules(&mut self, id: u32) {
        if let Some(entry) = self.rules.get_mut(id as usize) {
            entry.holders += 1;
        }
    }

    /// One fewer holds these rules.
    pub(super) fn release_rules(&mut self, id: u32) {
        let Some(entry) = self.rules.get_mut(id as usize) else { return };
        entry.holders -= 1;
        if entry.holders == 0 {
            let entry = self.rules.remove(id as usize);
            self.by_rules.remove(&entry.rules);
        }
    }

    /// Adds a policy's rules in one direction; whether that is news to the pods that it selects.
    pub(super) fn add(
        &mut self,
        policy: &Policy,
        direction: Direction,
        rules: &Arc<[Rule]>,
        cluster: &mut Cluster,
    ) -> bool {
        let rules = self.hold_rules(rules);
        let namespace = cluster.hold_namespace(&policy.key.namespace);
        let scope = Scope::Subjects(namespace, direction);
        let id = self.index.find(scope, &policy.subjects).unwrap_or_else(|| {
            let id = number(self.entries.insert(SubjectsEntry { rules: Vec::with_capacity(1) }));
            self.index.insert(scope, &policy.subjects, id);
            id
        });
        let Some(entry) = self.entries.get_mut(id as usize) else { return false };
        match entry.rules.binary_search_by_key(&rules, |(rules, _)| *rules) {
            Ok(place) => {
                entry.rules.get_mut(place).into_iter().for_each(|(_, count)| *count += 1);
                false
            }
            Err(place) => {
                entry.rules.insert(place, (rules, 1));
                true
            }
        }
    }

    /// Takes a policy's rules in one direction away again; whether that is news to the pods that it selects.
    pub(super) fn remove(
        &mut self,
        policy: &Policy,
        direction: Direction,
        rules: &[Rule],
        cluster: &mut Cluster,
    ) -> bool {
        let namespace = cluster.hold_namespace(&policy.key.namespace);
        let scope = Scope::Subjects(namespace, direction);
        let known = self.index.find(scope, &policy.subjects).zip(self.find(rules));
        let news = known.is_some_and(|(id, rules)| {
            let Some(entry) = self.entries.get_mut(id as usize) else { return false };
            let count = entry.rules.iter_mut().find(|(other, _)| *other == rules).map(|(_, count)| count);
            let last = count.is_some_and(|count| {
                *count -= 1;
                *count == 0
            });
            if last {
                entry.rules.retain(|(other, _)| *other != rules);
            }
            if entry.rules.is_empty() {
                self.entries.remove(id as usize);
                self.index.remove(scope, &policy.subjects, id);
            }
            self.release_rules(rules);
            last
        });
        // Once for this look, once for the policy.
        cluster.release_namespace(namespace);
        cluster.release_namespace(namespace);
        news
    }

    /// The conditions that a pod's labels meet.
    pub(super) fn pivots(&self, entry: &PodEntry) -> Pivots {
        self.index.pivots(&entry.pod.labels)
    }

    /// The rules of the policies that select a pod, each once, in order; `None`: none selects it.
    pub(super) fn rules_of(
        &self,
        entry: &PodEntry,
        direction: Direction,
        pivots: &Pivots,
    ) -> Option<Box<[u32]>> {
        let scope = Scope::Subjects(entry.namespace, direction);
        let entries = self.index.matching(scope, pivots, &entry.pod.labels);
        let mut found: Vec<u32> = entries
            .filter_map(|id| self.entries.get(id as usize))
            .flat_map(|e| e.rules.iter().map(|(rules, _)| *rules))
            .collect();
        found.sort_unstable();
        found.dedup();
        (!found.is_empty()).then(|| found.into())
    }
}

fn names_of(rules: &[Rule]) -> Box<[(Protocol, PortName)]> {
    let ports = rules.iter().flat_map(|rule| match &rule.ports {
        RulePorts::Any => &[],
        RulePorts::OneOf(ports) => ports.as_slice(),
    });
    let mut names: Vec<(Protocol, PortName)> = ports
        .filter_map(|port| match port {
            PortMatch::Named { protocol, name } => Some((*protocol, name.clone())),
            PortMatch::Range(_) => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into()
}
