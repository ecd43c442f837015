//! Policies by the selector of their subjects: which rules apply to a pod.
//!
//! Rules are interned by content, so a thousand policies that say the same are one, and a pod's group is told by
//! numbers.

use std::collections::HashMap;
use std::sync::Arc;

use fnv::FnvBuildHasher;
use slab::Slab;

use super::attempts::{Attempts, PeerAttempts, peers_here};
use super::budget::{Budgets, OverBudget};
use super::cluster::{Cluster, PodEntry};
use super::lookup::{Key, Lookup};
use super::select::Selectors;
use super::weight;
use crate::idset::{IdSet, number};
use crate::label::Labels;
use crate::object::{Direction, Policy, PortMatch, PortName, Rule, RulePorts};
use crate::port::Protocol;

/// The rules of one policy in one direction.
#[derive(Debug)]
pub(super) struct RulesEntry {
    pub(super) rules: Arc<[Rule]>,
    /// The port names that they use, each once, in order.
    pub(super) names: Box<[(Protocol, PortName)]>,
    /// What they weigh.
    pub(super) weight: u64,
    /// How many peers in the policies' own namespace they name.
    peers_here: u64,
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

/// What the policies of a namespace say.
#[derive(Debug, Default)]
struct Tenant {
    /// The selectors of their subjects.
    selectors: Selectors,
    /// How many different statements there are, on ingress and on egress.
    statements: [u32; 2],
    /// How often pods have to be tried against them, where pods times statements alone do not tell that it is within
    /// [`Budgets::tries`]. It is a cache: what it tells is the same whenever it is made.
    attempts: Option<Box<Attempts>>,
    /// How many peers in the namespace they name, all statements together.
    peers_here: u64,
    /// The same for these.
    peer_attempts: Option<Box<PeerAttempts>>,
    /// What there is too much of for the namespace's pods, if there is, and the directions in which they isolate: as of
    /// the last review.
    over: Option<(OverBudget, [bool; 2])>,
    /// Whether policies have come or gone without a look at which pods they select.
    unseen: bool,
}

/// Which rules apply to a pod in one direction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Applying {
    /// These.
    Rules(IdSet),
    /// Nobody looks, for the policies of its namespace are over [`Budgets::tries`].
    Unknown,
}

/// Every policy's subjects and rules.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    rules: Slab<RulesEntry>,
    by_rules: Lookup,
    /// What the policies of one namespace say that select the same subjects; ordered by rules and direction.
    said: Slab<Vec<Said>>,
    /// What the policies of each namespace say.
    tenants: HashMap<u32, Tenant, FnvBuildHasher>,
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
            let entry = RulesEntry {
                rules: Arc::clone(rules),
                names: names_of(rules),
                weight: weight::of(rules),
                peers_here: peers_here(rules).count() as u64,
                holders: 0,
            };
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
        let entry = self.rules.get(rules as usize);
        let tenant = self.tenants.entry(namespace).or_default();
        let selectors = &mut tenant.selectors;
        let id = selectors.find(&policy.subjects).unwrap_or_else(|| {
            // Most policies isolate in both directions.
            let id = number(self.said.insert(Vec::with_capacity(2)));
            selectors.insert(&policy.subjects, id);
            id
        });
        let Some(said) = self.said.get_mut(id as usize) else { return false };
        match said.binary_search_by_key(&(rules, direction), |said| (said.rules, said.direction)) {
            Ok(place) => {
                said.get_mut(place).into_iter().for_each(|said| said.policies += 1);
                false
            }
            Err(place) => {
                said.insert(place, Said { direction, rules, policies: 1 });
                *tenant.statements_of(direction) += 1;
                tenant.attempts.iter_mut().for_each(|all| all.statement(&policy.subjects, true));
                if let Some(entry) = entry {
                    tenant.peers_here += entry.peers_here;
                    tenant.peer_attempts.iter_mut().for_each(|all| all.rules(&entry.rules, true));
                }
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
        let known = self.tenants.get(&namespace).and_then(|tenant| tenant.selectors.find(&policy.subjects));
        let news = known.zip(self.find(rules)).is_some_and(|(id, rules)| {
            let Some(said) = self.said.get_mut(id as usize) else { return false };
            let key = |said: &Said| (said.rules, said.direction);
            let Ok(place) = said.binary_search_by_key(&(rules, direction), key) else { return false };
            let last = said.get_mut(place).is_some_and(|said| {
                said.policies -= 1;
                said.policies == 0
            });
            if last {
                said.remove(place);
                if let Some(tenant) = self.tenants.get_mut(&namespace) {
                    *tenant.statements_of(direction) -= 1;
                    tenant.attempts.iter_mut().for_each(|all| all.statement(&policy.subjects, false));
                    if let Some(entry) = self.rules.get(rules as usize) {
                        tenant.peers_here -= entry.peers_here;
                        tenant.peer_attempts.iter_mut().for_each(|all| all.rules(&entry.rules, false));
                    }
                }
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
        if let Some(tenant) = self.tenants.get_mut(&namespace) {
            tenant.selectors.remove(&policy.subjects, id);
            // One that is over budget is forgotten by the review that finds that it is no longer.
            if tenant.selectors.is_empty() && tenant.over.is_none() && !tenant.unseen {
                self.tenants.remove(&namespace);
            }
        }
    }

    /// A pod of a namespace has come with these labels, or gone.
    pub(super) fn follow_pod(&mut self, namespace: u32, labels: &Labels, come: bool) {
        if let Some(tenant) = self.tenants.get_mut(&namespace) {
            tenant.attempts.iter_mut().for_each(|attempts| attempts.pod(labels, come));
            tenant.peer_attempts.iter_mut().for_each(|attempts| attempts.pod(labels, come));
        }
    }

    /// Looks whether a namespace is over [`Budgets::tries`], with its subjects or with its peers. Returns true if that is
    /// news.
    pub(super) fn review(&mut self, namespace: u32, cluster: &Cluster, budgets: &Budgets) -> bool {
        let subjects = self.count(namespace, cluster, budgets) > budgets.tries;
        let peers = self.count_peers(namespace, cluster, budgets) > budgets.tries;
        let Some(tenant) = self.tenants.get_mut(&namespace) else { return false };
        let over = match (subjects, peers) {
            (true, _) => Some(OverBudget::Tries),
            (false, true) => Some(OverBudget::PeerTries),
            (false, false) => None,
        };
        let over = over.map(|over| (over, tenant.statements.map(|statements| statements > 0)));
        let unseen = std::mem::take(&mut tenant.unseen) && over.is_none();
        let news = std::mem::replace(&mut tenant.over, over) != over || unseen;
        if over.is_none() && tenant.selectors.is_empty() {
            self.tenants.remove(&namespace);
        }
        news
    }

    /// Returns true if it is left to [`Self::review`] which pods a policy concerns that has come or is about to go: there
    /// are more policies, or there were, than the namespace's pods can be tried against one by one.
    pub(super) fn leave_to_review(&mut self, namespace: u32, cluster: &Cluster, budgets: &Budgets) -> bool {
        let many = self.count(namespace, cluster, budgets) > budgets.tries;
        let Some(tenant) = self.tenants.get_mut(&namespace) else { return false };
        let left = many || tenant.over.is_some();
        tenant.unseen |= left;
        left
    }

    /// How often the pods of a namespace have to be tried against what its policies select: no less than it is, and
    /// exact where it is over budget. Counts are begun where they are needed, and kept until they are far from it.
    fn count(&mut self, namespace: u32, cluster: &Cluster, budgets: &Budgets) -> u64 {
        let Some(tenant) = self.tenants.get_mut(&namespace) else { return 0 };
        let pods = cluster.namespace(namespace).map(|entry| &entry.pods);
        let most = tenant.most_attempts(pods.map_or(0, IdSet::len));
        if most <= budgets.tries / 2 {
            tenant.attempts = None;
        } else if most > budgets.tries && tenant.attempts.is_none() {
            let mut attempts = Attempts::default();
            let pods = pods.into_iter().flat_map(IdSet::iter).filter_map(|id| cluster.pod(id));
            pods.for_each(|entry| attempts.pod(&entry.pod.labels, true));
            for (subjects, id) in tenant.selectors.iter() {
                let statements = self.said.get(id as usize).into_iter().flatten();
                statements.for_each(|_| attempts.statement(subjects, true));
            }
            tenant.attempts = Some(Box::new(attempts));
        }
        tenant.attempts.as_ref().map_or(most, |attempts| attempts.total())
    }

    /// The same for the peers in the namespace that its policies name, whether or not they select a pod.
    fn count_peers(&mut self, namespace: u32, cluster: &Cluster, budgets: &Budgets) -> u64 {
        let Some(tenant) = self.tenants.get_mut(&namespace) else { return 0 };
        let pods = cluster.namespace(namespace).map(|entry| &entry.pods);
        let most = tenant.peers_here.saturating_mul(pods.map_or(0, IdSet::len) as u64);
        if most <= budgets.tries / 2 {
            tenant.peer_attempts = None;
        } else if most > budgets.tries && tenant.peer_attempts.is_none() {
            let mut attempts = PeerAttempts::default();
            let pods = pods.into_iter().flat_map(IdSet::iter).filter_map(|id| cluster.pod(id));
            pods.for_each(|entry| attempts.pod(&entry.pod.labels, true));
            let said = tenant.selectors.iter().filter_map(|(_, id)| self.said.get(id as usize)).flatten();
            let rules = said.filter_map(|said| self.rules.get(said.rules as usize));
            rules.for_each(|entry| attempts.rules(&entry.rules, true));
            tenant.peer_attempts = Some(Box::new(attempts));
        }
        tenant.peer_attempts.as_ref().map_or(most, |attempts| attempts.total())
    }

    /// The namespaces over [`Budgets::tries`], by what, and what that comes to.
    pub(super) fn over(&self) -> impl Iterator<Item = (u32, OverBudget, u64)> {
        self.tenants.iter().filter_map(|(namespace, tenant)| {
            let (over, _) = tenant.over?;
            let total = match over {
                OverBudget::PeerTries => tenant.peer_attempts.as_ref()?.total(),
                _ => tenant.attempts.as_ref()?.total(),
            };
            Some((*namespace, over, total))
        })
    }

    /// The namespaces that have policies.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = u32> {
        self.tenants.keys().copied()
    }

    /// What the policies of a pod's namespace say of the pod, for each direction; `None`: none selects it. And how often
    /// it was tried: what selects it counts as often as there are different statements.
    pub(super) fn applying(&self, entry: &PodEntry) -> ([Option<Applying>; 2], usize) {
        let Some(tenant) = self.tenants.get(&entry.namespace) else { return ([None, None], 0) };
        if let Some((_, isolating)) = tenant.over {
            return (isolating.map(|isolating| isolating.then_some(Applying::Unknown)), 0);
        }
        let mut found = Direction::ALL.map(|_| IdSet::default());
        let labels = &entry.pod.labels;
        let mut tries = 0;
        for (subjects, id) in tenant.selectors.tried(labels) {
            if !subjects.matches(labels) {
                tries += 1;
                continue;
            }
            for said in self.said.get(*id as usize).into_iter().flatten() {
                tries += 1;
                let [ingress, egress] = &mut found;
                match said.direction {
                    Direction::Ingress => ingress.insert(said.rules),
                    Direction::Egress => egress.insert(said.rules),
                };
            }
        }
        (found.map(|rules| (!rules.is_empty()).then_some(Applying::Rules(rules))), tries)
    }
}

impl Tenant {
    /// Its pods are tried no more often than this, if they are so many.
    fn most_attempts(&self, pods: usize) -> u64 {
        let [ingress, egress] = self.statements;
        (u64::from(ingress) + u64::from(egress)).saturating_mul(pods as u64)
    }

    const fn statements_of(&mut self, direction: Direction) -> &mut u32 {
        let [ingress, egress] = &mut self.statements;
        match direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        }
    }
}

impl Applying {
    /// The rules, as far as anybody has looked.
    pub(super) fn rules(&self) -> impl Iterator<Item = u32> {
        match self {
            Self::Rules(rules) => Some(rules),
            Self::Unknown => None,
        }
        .into_iter()
        .flat_map(IdSet::iter)
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
