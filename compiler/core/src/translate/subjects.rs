//! Policies by the selector of their subjects: which rules apply to a pod.
//!
//! Rules are interned by content, so a thousand policies that say the same are one, and a pod's group is told by
//! numbers.

use std::collections::HashMap;
use std::sync::Arc;

use fnv::FnvBuildHasher;
use slab::Slab;

use super::cluster::{Cluster, PodEntry};
use super::lookup::{Key, Lookup};
use super::select::Selectors;
use crate::idset::{IdSet, number};
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

/// What policies say about their subjects.
#[derive(Debug, Clone, Copy)]
struct Said {
    direction: Direction,
    rules: u32,
    /// How many policies say it.
    policies: u32,
}

/// Every policy's subjects and rules.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    rules: Slab<RulesEntry>,
    by_rules: Lookup,
    /// What the policies of one namespace say that select the same subjects; ordered by direction and rules.
    said: Slab<Vec<Said>>,
    /// The selectors of subjects, by namespace.
    selectors: HashMap<u32, Selectors, FnvBuildHasher>,
}

impl Subjects {
    pub(super) fn rules(&self, id: u32) -> Option<&RulesEntry> {
        self.rules.get(id as usize)
    }

    /// The number of rules that a policy has, if some policy has them.
    pub(super) fn find(&self, rules: &[Rule]) -> Option<u32> {
        self.find_by(self.by_rules.key(rules), rules)
    }

    fn find_by(&self, key: Key, rules: &[Rule]) -> Option<u32> {
        self.by_rules.find(key, |id| self.rules(id).is_some_and(|entry| *entry.rules == *rules))
    }

    /// One more holds these rules.
    fn hold_rules(&mut self, rules: &Arc<[Rule]>) -> u32 {
        let key = self.by_rules.key(&**rules);
        let id = self.find_by(key, rules).unwrap_or_else(|| {
            let entry = RulesEntry { rules: Arc::clone(rules), names: names_of(rules), holders: 0 };
            let id = number(self.rules.insert(entry));
            self.by_rules.insert(key, id);
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
            self.by_rules.remove(self.by_rules.key(&*entry.rules), id);
        }
    }

    /// Adds a policy's rules in one direction, for which its namespace is held; whether that is news to the pods that
    /// it selects.
    pub(super) fn add(
        &mut self,
        policy: &Policy,
        direction: Direction,
        rules: &Arc<[Rule]>,
        namespace: u32,
    ) -> bool {
        let rules = self.hold_rules(rules);
        let selectors = self.selectors.entry(namespace).or_default();
        let id = selectors.find(&policy.subjects).unwrap_or_else(|| {
            // Most policies isolate in both directions.
            let id = number(self.said.insert(Vec::with_capacity(2)));
            selectors.insert(&policy.subjects, id);
            id
        });
        let Some(said) = self.said.get_mut(id as usize) else { return false };
        match said.binary_search_by_key(&(direction, rules), |said| (said.direction, said.rules)) {
            Ok(place) => {
                said.get_mut(place).into_iter().for_each(|said| said.policies += 1);
                false
            }
            Err(place) => {
                said.insert(place, Said { direction, rules, policies: 1 });
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
        let known = self.selectors.get(&namespace).and_then(|selectors| selectors.find(&policy.subjects));
        let news = known.zip(self.find(rules)).is_some_and(|(id, rules)| {
            let Some(said) = self.said.get_mut(id as usize) else { return false };
            let is = |said: &Said| said.direction == direction && said.rules == rules;
            let last = said.iter_mut().find(|said| is(said)).is_some_and(|said| {
                said.policies -= 1;
                said.policies == 0
            });
            if last {
                said.retain(|said| !is(said));
            }
            if said.is_empty() {
                self.said.remove(id as usize);
                self.forget(namespace, policy, id);
            }
            self.release_rules(rules);
            last
        });
        // Once for this look, once for the policy.
        cluster.release_namespace(namespace);
        cluster.release_namespace(namespace);
        news
    }

    /// No policy selects these subjects any more.
    fn forget(&mut self, namespace: u32, policy: &Policy, id: u32) {
        if let Some(selectors) = self.selectors.get_mut(&namespace) {
            selectors.remove(&policy.subjects, id);
            if selectors.is_empty() {
                self.selectors.remove(&namespace);
            }
        }
    }

    /// The rules of the policies that select a pod, for each direction; `None`: none selects it.
    pub(super) fn rules_of(&self, entry: &PodEntry) -> [Option<IdSet>; 2] {
        let mut found = Direction::ALL.map(|_| IdSet::default());
        let selectors = self.selectors.get(&entry.namespace).into_iter();
        let selecting = selectors.flat_map(|selectors| selectors.matching(&entry.pod.labels));
        for said in selecting.filter_map(|id| self.said.get(id as usize)).flatten() {
            let [ingress, egress] = &mut found;
            match said.direction {
                Direction::Ingress => ingress.insert(said.rules),
                Direction::Egress => egress.insert(said.rules),
            };
        }
        found.map(|rules| (!rules.is_empty()).then_some(rules))
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
