//! Policies by what their podSelector selects: which rules apply to a pod.
//!
//! Rules are interned by content, so a thousand policies that say the same are one, and a pod's group is told by
//! their ids.

use std::collections::HashMap;
use std::sync::Arc;

use fnv::FnvBuildHasher;

use crate::collections::count::Count;
use crate::collections::ids::{Arena, NamespaceId, RuleUsesId, RulesId};
use crate::collections::idset::IdSet;
use crate::collections::lookup::{Lookup, LookupKey};
use crate::invariant::bug;
use crate::label::Labels;
use crate::object::{Direction, Policy, PortMatch, PortName, Rule, RulePorts};
use crate::port::Protocol;
use crate::translate::budget::attempts::{Attempts, PeerAttempts, peers_here};
use crate::translate::budget::weight;
use crate::translate::budget::{Budgets, OverBudget};
use crate::translate::index::cluster::{Cluster, PodEntry};
use crate::translate::index::select::Selectors;

/// The rules of one policy in one direction.
#[derive(Debug)]
pub(in crate::translate) struct RulesEntry {
    pub(in crate::translate) rules: Arc<[Rule]>,
    /// The port names that they use, each once, in order.
    pub(in crate::translate) names: Box<[(Protocol, PortName)]>,
    /// What they weigh.
    pub(in crate::translate) weight: u64,
    /// How many peers in the policies' own namespace they name.
    peers_here: u64,
    holders: Count,
}

/// What policies say about the pods that they select.
#[derive(Debug, Clone, Copy)]
struct RuleUse {
    direction: Direction,
    rules: RulesId,
    /// How many policies say it.
    policies: Count,
}

/// What the policies of a namespace say.
#[derive(Debug, Default)]
struct NamespacePolicies {
    /// Their pod selectors.
    selectors: Selectors<RuleUsesId>,
    /// How many different statements there are, on ingress and on egress.
    statements: [Count; 2],
    /// How often pods have to be tried against them, where pods times statements alone do not tell that it is within
    /// [`Budgets::tries`]. It is a cache: what it tells is the same whenever it is made.
    attempts: Option<Box<Attempts>>,
    /// How many peers in the namespace they name, all statements together.
    peers_here: Count<u64>,
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
pub(in crate::translate) enum MatchedRules {
    /// These.
    Rules(IdSet<RulesId>),
    /// Nobody looks, for the policies of its namespace are over [`Budgets::tries`].
    Unknown,
}

/// Every policy's pod selector and rules.
#[derive(Debug, Default)]
pub(in crate::translate) struct PolicyIndex {
    rules: Arena<RulesId, RulesEntry>,
    by_rules: Lookup<RulesId>,
    /// What the policies of one namespace say with the same pod selector; ordered by rules and direction.
    uses: Arena<RuleUsesId, Vec<RuleUse>>,
    /// What the policies of each namespace say.
    namespaces: HashMap<NamespaceId, NamespacePolicies, FnvBuildHasher>,
}

impl PolicyIndex {
    /// Rules that somebody holds.
    #[track_caller]
    pub(in crate::translate) fn rules(&self, id: RulesId) -> Option<&RulesEntry> {
        self.rules.there(id)
    }

    /// The id of rules that a policy has, if some policy has them.
    pub(in crate::translate) fn find(&self, rules: &[Rule]) -> Option<RulesId> {
        self.find_by(self.by_rules.key(rules), rules)
    }

    fn find_by(&self, key: LookupKey, rules: &[Rule]) -> Option<RulesId> {
        self.by_rules.find(key, |id| self.rules(id).is_some_and(|entry| *entry.rules == *rules))
    }

    /// One more holds these rules.
    fn hold_rules(&mut self, rules: &Arc<[Rule]>) -> RulesId {
        let key = self.by_rules.key(&**rules);
        let id = self.find_by(key, rules).unwrap_or_else(|| {
            let entry = RulesEntry {
                rules: Arc::clone(rules),
                names: names_of(rules),
                weight: weight::of(rules),
                peers_here: peers_here(rules).count() as u64,
                holders: Count::default(),
            };
            let id = self.rules.insert(entry);
            self.by_rules.insert(key, id);
            id
        });
        self.keep_rules(id);
        id
    }

    /// One more holds these rules.
    pub(in crate::translate) fn keep_rules(&mut self, id: RulesId) {
        if let Some(entry) = self.rules.there_mut(id) {
            entry.holders.one_more();
        }
    }

    /// One fewer holds these rules.
    pub(in crate::translate) fn release_rules(&mut self, id: RulesId) {
        let Some(entry) = self.rules.there_mut(id) else { return };
        if entry.holders.one_fewer() == 0
            && let Some(entry) = self.rules.remove(id)
        {
            self.by_rules.remove(self.by_rules.key(&*entry.rules), id);
        }
    }

    /// Adds a policy's rules in one direction, for which its namespace is held. Returns true if that is news to the
    /// pods that it selects.
    pub(in crate::translate) fn add(
        &mut self,
        policy: &Policy,
        direction: Direction,
        rules: &Arc<[Rule]>,
        namespace: NamespaceId,
    ) -> bool {
        let rules = self.hold_rules(rules);
        let entry = self.rules.there(rules);
        let here = self.namespaces.entry(namespace).or_default();
        let selectors = &mut here.selectors;
        let id = selectors.find(&policy.pod_selector).unwrap_or_else(|| {
            // Most policies isolate in both directions.
            let id = self.uses.insert(Vec::with_capacity(2));
            selectors.insert(&policy.pod_selector, id);
            id
        });
        let Some(uses) = self.uses.there_mut(id) else { return false };
        match uses.binary_search_by_key(&(rules, direction), |one| (one.rules, one.direction)) {
            Ok(place) => {
                uses.get_mut(place).into_iter().for_each(|one| _ = one.policies.one_more());
                false
            }
            Err(place) => {
                uses.insert(place, RuleUse { direction, rules, policies: Count::one() });
                here.statements_of(direction).one_more();
                here.attempts.iter_mut().for_each(|all| all.statement(&policy.pod_selector, true));
                if let Some(entry) = entry {
                    here.peers_here.add(entry.peers_here);
                    here.peer_attempts.iter_mut().for_each(|all| all.rules(&entry.rules, true));
                }
                true
            }
        }
    }

    /// Takes a policy's rules in one direction away again. Returns true if that is news to the pods that it selects.
    pub(in crate::translate) fn remove(
        &mut self,
        policy: &Policy,
        direction: Direction,
        rules: &[Rule],
        cluster: &mut Cluster,
    ) -> bool {
        let namespace = cluster.hold_namespace(&policy.key.namespace);
        let known =
            self.namespaces.get(&namespace).and_then(|here| here.selectors.find(&policy.pod_selector));
        let known = known.zip(self.find(rules));
        if known.is_none() {
            bug!("{} is not among the policies of {namespace:?}", policy.key);
        }
        let news = known.is_some_and(|(id, rules)| {
            let Some(uses) = self.uses.there_mut(id) else { return false };
            let key = |one: &RuleUse| (one.rules, one.direction);
            let Ok(place) = uses.binary_search_by_key(&(rules, direction), key) else {
                bug!("{id:?} does not say {rules:?} on {direction}, as {} does", policy.key);
                return false;
            };
            let last = uses.get_mut(place).is_some_and(|one| one.policies.one_fewer() == 0);
            if last {
                uses.remove(place);
                if let Some(here) = self.namespaces.get_mut(&namespace) {
                    here.statements_of(direction).one_fewer();
                    here.attempts.iter_mut().for_each(|all| all.statement(&policy.pod_selector, false));
                    if let Some(entry) = self.rules.there(rules) {
                        here.peers_here.sub(entry.peers_here);
                        here.peer_attempts.iter_mut().for_each(|all| all.rules(&entry.rules, false));
                    }
                }
            }
            if uses.is_empty() {
                self.uses.remove(id);
                self.forget(namespace, policy, id);
            }
            // Last: the peers that they name have been taken off above.
            self.release_rules(rules);
            last
        });
        // Once for this look, once for the policy.
        cluster.release_namespace(namespace);
        cluster.release_namespace(namespace);
        news
    }

    /// No policy has this pod selector any more.
    fn forget(&mut self, namespace: NamespaceId, policy: &Policy, id: RuleUsesId) {
        if let Some(here) = self.namespaces.get_mut(&namespace) {
            here.selectors.remove(&policy.pod_selector, id);
            // One that is over budget is forgotten by the review that finds that it is no longer.
            if here.selectors.is_empty() && here.over.is_none() && !here.unseen {
                self.namespaces.remove(&namespace);
            }
        }
    }

    /// A pod of a namespace has come with these labels, or gone.
    pub(in crate::translate) fn follow_pod(&mut self, namespace: NamespaceId, labels: &Labels, come: bool) {
        if let Some(here) = self.namespaces.get_mut(&namespace) {
            here.attempts.iter_mut().for_each(|attempts| attempts.pod(labels, come));
            here.peer_attempts.iter_mut().for_each(|attempts| attempts.pod(labels, come));
        }
    }

    /// Looks whether a namespace is over [`Budgets::tries`], with what its policies select or with their peers.
    /// Returns true if that is news.
    pub(in crate::translate) fn review(
        &mut self,
        namespace: NamespaceId,
        cluster: &Cluster,
        budgets: &Budgets,
    ) -> bool {
        let pods = self.count(namespace, cluster, budgets) > budgets.tries;
        let peers = self.count_peers(namespace, cluster, budgets) > budgets.tries;
        let Some(here) = self.namespaces.get_mut(&namespace) else { return false };
        let over = match (pods, peers) {
            (true, _) => Some(OverBudget::Tries),
            (false, true) => Some(OverBudget::PeerTries),
            (false, false) => None,
        };
        // The directions are part of it, for a policy may begin to isolate in another one.
        let over = over.map(|over| (over, here.statements.map(|statements| !statements.is_zero())));
        // Policies came or went while nobody looked whom they select: back within budget, all pods are looked at.
        let unseen = std::mem::take(&mut here.unseen) && over.is_none();
        let news = std::mem::replace(&mut here.over, over) != over || unseen;
        if over.is_none() && here.selectors.is_empty() {
            self.namespaces.remove(&namespace);
        }
        news
    }

    /// Returns true if it is left to [`Self::review`] which pods a policy concerns that has come or is about to go: there
    /// are more policies, or there were, than the namespace's pods can be tried against one by one.
    pub(in crate::translate) fn leave_to_review(
        &mut self,
        namespace: NamespaceId,
        cluster: &Cluster,
        budgets: &Budgets,
    ) -> bool {
        let many = self.count(namespace, cluster, budgets) > budgets.tries;
        let Some(here) = self.namespaces.get_mut(&namespace) else { return false };
        let left = many || here.over.is_some();
        here.unseen |= left;
        left
    }

    /// How often the pods of a namespace, which may be gone, have to be tried against what its policies select: no less than it is, and
    /// exact where it is over budget. Counts are begun where they are needed, and kept until they are far from it.
    fn count(&mut self, namespace: NamespaceId, cluster: &Cluster, budgets: &Budgets) -> u64 {
        let Some(here) = self.namespaces.get_mut(&namespace) else { return 0 };
        let pods = cluster.namespaces.get(namespace).map(|entry| &entry.pods);
        let most = here.most_attempts(pods.map_or(0, IdSet::len));
        // At half of it, so that counts are not begun and dropped again and again around the budget.
        if most <= budgets.tries / 2 {
            here.attempts = None;
        } else if most > budgets.tries && here.attempts.is_none() {
            let mut attempts = Attempts::default();
            let pods = pods.into_iter().flat_map(IdSet::iter).filter_map(|id| cluster.pod(id));
            pods.for_each(|entry| attempts.pod(&entry.pod.labels, true));
            for (selector, id) in here.selectors.iter() {
                let statements = self.uses.there(id).into_iter().flatten();
                statements.for_each(|_| attempts.statement(selector, true));
            }
            here.attempts = Some(Box::new(attempts));
        }
        here.attempts.as_ref().map_or(most, |attempts| attempts.total())
    }

    /// The same for the peers in the namespace that its policies name, whether or not they select a pod.
    fn count_peers(&mut self, namespace: NamespaceId, cluster: &Cluster, budgets: &Budgets) -> u64 {
        let Some(here) = self.namespaces.get_mut(&namespace) else { return 0 };
        let pods = cluster.namespaces.get(namespace).map(|entry| &entry.pods);
        let most = here.peers_here.get().saturating_mul(pods.map_or(0, IdSet::len) as u64);
        if most <= budgets.tries / 2 {
            here.peer_attempts = None;
        } else if most > budgets.tries && here.peer_attempts.is_none() {
            let mut attempts = PeerAttempts::default();
            let pods = pods.into_iter().flat_map(IdSet::iter).filter_map(|id| cluster.pod(id));
            pods.for_each(|entry| attempts.pod(&entry.pod.labels, true));
            let uses = here.selectors.iter().filter_map(|(_, id)| self.uses.there(id)).flatten();
            let rules = uses.filter_map(|one| self.rules.there(one.rules));
            rules.for_each(|entry| attempts.rules(&entry.rules, true));
            here.peer_attempts = Some(Box::new(attempts));
        }
        here.peer_attempts.as_ref().map_or(most, |attempts| attempts.total())
    }

    /// The namespaces over [`Budgets::tries`], by what, and what that comes to.
    pub(in crate::translate) fn over(&self) -> impl Iterator<Item = (NamespaceId, OverBudget, u64)> {
        self.namespaces.iter().filter_map(|(namespace, here)| {
            let (over, _) = here.over?;
            // Counts are there as of the last review. What has been dropped since is over budget no longer.
            let total = match over {
                OverBudget::PeerTries => here.peer_attempts.as_ref()?.total(),
                _ => here.attempts.as_ref()?.total(),
            };
            Some((*namespace, over, total))
        })
    }

    /// The namespaces that have policies.
    pub(in crate::translate) fn namespaces(&self) -> impl Iterator<Item = NamespaceId> {
        self.namespaces.keys().copied()
    }

    /// What the policies of a pod's namespace say of the pod, for each direction; `None`: none selects it. And how often
    /// it was tried: what selects it counts as often as there are different statements.
    pub(in crate::translate) fn matched(&self, entry: &PodEntry) -> ([Option<MatchedRules>; 2], usize) {
        let Some(here) = self.namespaces.get(&entry.namespace) else { return ([None, None], 0) };
        // Over budget its pods are tried against nothing. What the policies say is unknown then, and unknown isolates.
        if let Some((_, isolating)) = here.over {
            return (isolating.map(|isolating| isolating.then_some(MatchedRules::Unknown)), 0);
        }
        let mut found = Direction::ALL.map(|_| IdSet::default());
        let labels = &entry.pod.labels;
        let mut tries = 0;
        for (selector, id) in here.selectors.tried(labels) {
            if !selector.matches(labels) {
                tries += 1;
                continue;
            }
            for uses in self.uses.there(*id).into_iter().flatten() {
                tries += 1;
                let [ingress, egress] = &mut found;
                match uses.direction {
                    Direction::Ingress => ingress.insert(uses.rules),
                    Direction::Egress => egress.insert(uses.rules),
                };
            }
        }
        (found.map(|rules| (!rules.is_empty()).then_some(MatchedRules::Rules(rules))), tries)
    }
}

impl NamespacePolicies {
    /// Its pods are tried no more often than this, if they are so many.
    fn most_attempts(&self, pods: usize) -> u64 {
        let [ingress, egress] = self.statements;
        (u64::from(ingress.get()) + u64::from(egress.get())).saturating_mul(pods as u64)
    }

    const fn statements_of(&mut self, direction: Direction) -> &mut Count {
        let [ingress, egress] = &mut self.statements;
        match direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        }
    }
}

impl MatchedRules {
    /// The rules, as far as anybody has looked.
    pub(in crate::translate) fn rules(&self) -> impl Iterator<Item = RulesId> {
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
