//! What is to be told of which policy, and when: each thing once a version, what is probably not meant only once it has been
//! true for a while, and nobody's more often than is good for others. Pure: the time is told.
//!
//! Nothing queues: what is due and could not be told is found again, in its newest form.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use flock_compiler_core::object::Policy;
use flock_compiler_core::{Labels, World};
use flock_shared::{NamespaceName, NodeName, PolicyKey};
use tokio::time::Instant;

use super::notice::{Notice, Reason, Weight};
use crate::attach::TokenBucket;

/// Seconds' worth of one Event of a policy, and what it may have told at once: 5, and one more each 5 minutes.
const OF_POLICY: (u64, u64) = (300, 1500);
/// The same of all policies of a namespace: 25, and one more each 10 s.
const OF_NAMESPACE: (u64, u64) = (10, 250);
/// Labels that are compared of one namespace in one look: some tens of milliseconds. Of what is beyond, nothing is told.
const COMPARISONS: usize = 1_000_000;
/// Policies for which it is looked where they are in force, in one look: of more, those that have waited.
const EXAMINED: usize = 200;
/// What is due that is told after one look.
const BATCH: usize = 64;

/// Where a look has to look again at what policies select.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    Everything,
    Namespaces(BTreeSet<NamespaceName>),
}

/// On which nodes of a policy's pods it is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coverage {
    /// The nodes of its pods.
    pub(super) nodes: usize,
    /// Those whose agents are asked here.
    pub(super) asked: usize,
    /// Those of these where it is in force.
    pub(super) enforced: usize,
}

/// All policies, and what was told of them.
#[derive(Debug)]
pub(super) struct NoticeRecord {
    settled: Duration,
    policies: BTreeMap<PolicyKey, Known>,
    /// Those of which something may still be told.
    open: BTreeSet<PolicyKey>,
    /// Where the next look at those begins.
    next: Option<PolicyKey>,
    namespaces: BTreeMap<NamespaceName, TokenBucket>,
    is_begun: bool,
}

#[derive(Debug)]
struct Known {
    policy: Arc<Policy>,
    told: BTreeSet<Reason>,
    /// Since when it has selected nothing.
    idle: Option<(Instant, Idle)>,
    bucket: Option<TokenBucket>,
}

/// Why a policy selects nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Idle {
    /// There is no pod in its namespace.
    Empty,
    /// No pod there has such labels.
    NoMatch,
}

impl Known {
    fn is_open(&self) -> bool {
        let is_untold = |reason| !self.told.contains(&reason);
        let is_understood = self.policy.faults().is_empty();
        !is_understood && is_untold(Reason::NotUnderstood)
            || self.idle.is_some() && is_untold(Reason::SelectsNothing)
            || is_understood && self.idle.is_none() && is_untold(Reason::Enforced)
    }
}

/// Returns true if it is another version: by what is translated of it, not by its annotations.
fn is_another(known: &Arc<Policy>, policy: &Arc<Policy>) -> bool {
    known != policy || known.meta.uid != policy.meta.uid
}

impl NoticeRecord {
    /// Of what a policy selects, what was not so for so long is not told.
    pub(super) fn new(settled: Duration) -> Self {
        let (policies, open, namespaces) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { settled, policies, open, next: None, namespaces, is_begun: false }
    }

    /// Returns true if nothing can become due but by a change of the objects.
    pub(super) fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes in what there is. At the first look, `is_old` says which policies were there when this replica had listed: of those
    /// it is not told that they are in force.
    pub(super) fn look(
        &mut self,
        world: &World,
        scope: &Scope,
        is_old: impl Fn(&PolicyKey) -> bool,
        now: Instant,
    ) {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let all: BTreeSet<NamespaceName> = match scope {
            Scope::Namespaces(namespaces) => namespaces.clone(),
            Scope::Everything => {
                let keys = world.policies().keys().chain(self.policies.keys());
                keys.map(|key| key.namespace.clone()).collect()
            }
        };
        let is_gone = |key: &&PolicyKey| all.contains(&key.namespace) && !world.policies().contains_key(*key);
        let gone: Vec<PolicyKey> = self.policies.keys().filter(is_gone).cloned().collect();
        for key in gone {
            self.policies.remove(&key);
            self.open.remove(&key);
        }
        for namespace in &all {
            // Pods of most workloads have the same labels, so few are left to compare; the others are bounded below.
            let labels: HashSet<&Labels> = world
                .pods_of(namespace)
                // Policies do not apply to these: to select them only is to select nothing.
                .filter(|pod| !pod.is_of_host_network())
                .map(|pod| &pod.labels)
                .collect();
            let silenced =
                world.namespaces().get(namespace).is_some_and(|it| it.ignored_lints.contains(&code()));
            let mut left = COMPARISONS;
            for policy in world.policies_of(namespace) {
                let idle = match left.checked_sub(labels.len()) {
                    Some(rest) => {
                        left = rest;
                        let selects = labels.iter().any(|labels| policy.pod_selector.matches(labels));
                        let why = if labels.is_empty() { Idle::Empty } else { Idle::NoMatch };
                        let is_silenced = silenced || policy.meta.ignored_lints.contains(&code());
                        (!selects && !is_silenced).then_some(why)
                    }
                    // Not compared, for want of work that may be done: it is not said to select nothing.
                    None => None,
                };
                let is_old = is_first && is_old(&policy.key);
                self.see(policy, idle, is_old, now);
            }
        }
        self.namespaces.retain(|_, bucket| !bucket.is_full(now));
    }

    fn see(&mut self, policy: &Arc<Policy>, idle: Option<Idle>, is_old: bool, now: Instant) {
        // What is not understood may be what it selects.
        let idle = idle.filter(|_| policy.faults().is_empty());
        let known = match self.policies.entry(policy.key.clone()) {
            Entry::Occupied(entry) => {
                let known = entry.into_mut();
                if is_another(&known.policy, policy) {
                    known.told.clear();
                }
                known.policy = Arc::clone(policy);
                known
            }
            Entry::Vacant(entry) => {
                let told = is_old.then_some(Reason::Enforced).into_iter().collect();
                entry.insert(Known { policy: Arc::clone(policy), told, idle: None, bucket: None })
            }
        };
        known.idle = idle.map(|why| (known.idle.map_or(now, |(since, _)| since), why));
        if known.idle.is_none() {
            // It may come to that again.
            known.told.remove(&Reason::SelectsNothing);
        }
        if known.is_open() {
            self.open.insert(policy.key.clone());
        } else {
            self.open.remove(&policy.key);
        }
    }

    /// What is due, with the policies that have waited longest first. `coverage` says where a policy is in force.
    pub(super) fn due(
        &mut self,
        now: Instant,
        is_alone: bool,
        coverage: &mut impl FnMut(&Policy) -> Coverage,
    ) -> Vec<Notice> {
        let from = self.next.take().map_or(Bound::Unbounded, Bound::Included);
        let after = self.open.range((from.clone(), Bound::Unbounded));
        let before = self.open.iter().take_while(|key| match &from {
            Bound::Included(from) => *key < from,
            Bound::Excluded(_) | Bound::Unbounded => false,
        });
        let (mut due, mut examined) = (Vec::new(), 0);
        for key in after.chain(before) {
            if due.len() >= BATCH || examined >= EXAMINED {
                // The next look begins here, so that no policy waits behind many others for ever.
                self.next = Some(key.clone());
                break;
            }
            let Some(known) = self.policies.get(key) else { continue };
            due.extend(known.early(now, self.settled));
            let is_understood = known.policy.faults().is_empty();
            if is_understood && known.idle.is_none() && !known.told.contains(&Reason::Enforced) {
                examined += 1;
                due.extend(enforced(&known.policy, coverage(&known.policy), is_alone));
            }
        }
        due
    }

    /// Returns true if a notice may be told now, as far as its policy and namespace are concerned. One that may not is not told
    /// at all.
    pub(super) fn admit(&mut self, notice: &Notice, now: Instant) -> bool {
        let Some(known) = self.policies.get_mut(&notice.policy) else { return false };
        let of_policy = known.bucket.is_none_or(|bucket| bucket.ready(now).is_ok());
        let of_namespace = self.namespaces.get(&notice.policy.namespace);
        let admits = of_policy && of_namespace.is_none_or(|bucket| bucket.ready(now).is_ok());
        // Left out rather than put off: nothing queues.
        if !admits {
            self.told(notice);
        }
        admits
    }

    /// A notice was told, which is charged to its policy and namespace.
    pub(super) fn spend(&mut self, notice: &Notice, now: Instant) {
        let charge = |bucket: &mut TokenBucket, cost| bucket.spend(cost, now);
        if let Some(known) = self.policies.get_mut(&notice.policy) {
            let (cost, burst) = OF_POLICY;
            charge(known.bucket.get_or_insert_with(|| TokenBucket::new(burst, 1, now)), cost);
        }
        let (cost, burst) = OF_NAMESPACE;
        let namespace = notice.policy.namespace.clone();
        charge(self.namespaces.entry(namespace).or_insert_with(|| TokenBucket::new(burst, 1, now)), cost);
    }

    /// A notice is not due any more.
    pub(super) fn told(&mut self, notice: &Notice) {
        let Some(known) = self.policies.get_mut(&notice.policy) else { return };
        known.told.insert(notice.reason);
        if !known.is_open() {
            self.open.remove(&notice.policy);
        }
    }

    /// How much is kept: policies, those of them that are open, and namespaces.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 3] {
        [self.policies.len(), self.open.len(), self.namespaces.len()]
    }
}

impl Known {
    /// What is due whatever nodes have.
    fn early(&self, now: Instant, settled: Duration) -> Option<Notice> {
        let policy = &self.policy;
        let faults = policy.faults();
        if let (Some(first), false) = (faults.first(), self.told.contains(&Reason::NotUnderstood)) {
            let more = match faults.len() {
                1 => String::new(),
                several => format!(" (and {} more)", several - 1),
            };
            let note = format!(
                "{}: {}{more}; the pods that it selects are isolated, and it allows nothing",
                first.field, first.message
            );
            return Some(Notice::new(policy, Reason::NotUnderstood, Weight::Warning, &note));
        }
        let (since, why) = self.idle.filter(|_| !self.told.contains(&Reason::SelectsNothing))?;
        if now.saturating_duration_since(since) < settled {
            return None;
        }
        let (weight, note) = match why {
            Idle::Empty => (Weight::Normal, "selects no pod: there are none in its namespace".to_owned()),
            Idle::NoMatch => {
                let selector = &policy.pod_selector;
                (Weight::Warning, format!("selects no pod: none of its namespace has {selector}"))
            }
        };
        Some(Notice::new(policy, Reason::SelectsNothing, weight, &note))
    }
}

/// That a policy is in force, if it is: on all its nodes, or where there are other replicas, on all that are asked here.
fn enforced(policy: &Policy, coverage: Coverage, is_alone: bool) -> Option<Notice> {
    let Coverage { nodes, asked, enforced } = coverage;
    let wanted = if is_alone { nodes } else { asked };
    if wanted == 0 || enforced < wanted {
        return None;
    }
    let is_a_part = enforced < nodes;
    let of = if nodes == 1 { "node" } else { "nodes" };
    let note = match is_a_part {
        false => format!("in force on {enforced} of {nodes} {of}"),
        true => format!(
            "in force on {enforced} of {nodes} {of}: on all whose agents this compiler serves; others tell of theirs"
        ),
    };
    Some(Notice::new(policy, Reason::Enforced, Weight::Normal, &note).in_part(is_a_part))
}

/// What authors silence by: that a policy selects no pod.
const fn code() -> flock_compiler_core::object::LintCode {
    flock_ask::Lint::FLK001.code()
}

/// The nodes of a policy's pods, as they count.
pub(super) fn covered<'a>(
    nodes: impl IntoIterator<Item = &'a NodeName>,
    is_asked: impl Fn(&NodeName) -> bool,
    is_enforced: impl Fn(&NodeName) -> bool,
) -> Coverage {
    let mut coverage = Coverage { nodes: 0, asked: 0, enforced: 0 };
    for node in nodes {
        coverage.nodes += 1;
        if is_asked(node) {
            coverage.asked += 1;
            coverage.enforced += usize::from(is_enforced(node));
        }
    }
    coverage
}
