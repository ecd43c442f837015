//! What has changed of late, and when: a bounded record of passes, and the way back to earlier objects. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flock_compiler_core::World;
use flock_compiler_core::world::{Difference, Differences};
use flock_shared::{NamespaceName, NodeName, PolicyKey};

use super::node_set::{NodeIds, NodeSet};
use crate::engine::Sequence;

/// Objects of a pass that are named; more are counted.
const NAMED: usize = 20;
/// Passes that are kept: more than an hour of what rollouts come to, and a few minutes of thirty a second.
const PASSES: usize = 16_384;
/// Objects that are named in all of them.
const NAMES: usize = 65_536;
/// Earlier objects that are kept: ten minutes of thirty changes a second, at most some 20 MB.
const EARLIER: usize = 20_000;

/// An object that a pass was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedObject {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace, if it is in one.
    pub namespace: Option<NamespaceName>,
    /// Its name.
    pub name: Arc<str>,
}

/// As `NetworkPolicy shop/web`.
impl fmt::Display for ChangedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        self.namespace.iter().try_for_each(|namespace| write!(f, "{namespace}/"))?;
        f.write_str(&self.name)
    }
}

/// A pass.
#[derive(Debug, Clone)]
pub struct PassRecord {
    /// Its number.
    pub sequence: Sequence,
    /// When it was published.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// The first of the objects that had changed.
    pub objects: Vec<ChangedObject>,
    /// How many there were, by namespace; `None`: in no namespace.
    pub counts: BTreeMap<Option<NamespaceName>, u32>,
    /// The nodes of which it changed what they should have.
    pub nodes: NodeSet,
}

impl PassRecord {
    /// How many objects had changed.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.counts.values().copied().fold(0, u32::saturating_add)
    }
}

/// The objects that differences are about.
pub(super) fn changed(all: &[Differences]) -> (Vec<ChangedObject>, BTreeMap<Option<NamespaceName>, u32>) {
    let mut found = Named::default();
    for differences in all {
        match differences {
            Differences::Nodes(nodes, pods) => {
                found.take(nodes, "Node", |it| (None, it.name.as_str().into()));
                found.pods(pods);
            }
            Differences::Namespaces(all) => {
                found.take(all, "Namespace", |it| (Some(it.name.clone()), it.name.as_str().into()));
            }
            Differences::Pods(all) => found.pods(all),
            Differences::Policies(all) => found.take(all, "NetworkPolicy", |it| {
                (Some(it.key.namespace.clone()), it.key.name.as_str().into())
            }),
            Differences::NodePods(all, pods) => {
                found.take(all, "NodePods", |it| (None, it.node().as_str().into()));
                found.pods(pods);
            }
            Differences::Facts(all) => found.take(all, "facts of Node", |it| (None, it.node.as_str().into())),
            // Who is not waited for any more is no object.
            Differences::Overdue(_) => {}
        }
    }
    (found.objects, found.counts)
}

#[derive(Default)]
struct Named {
    objects: Vec<ChangedObject>,
    counts: BTreeMap<Option<NamespaceName>, u32>,
}

impl Named {
    fn pods(&mut self, all: &[Difference<flock_compiler_core::object::Pod>]) {
        self.take(all, "Pod", |it| (Some(it.key.namespace.clone()), it.key.name.as_str().into()));
    }

    fn take<T: PartialEq>(
        &mut self,
        all: &[Difference<T>],
        kind: &'static str,
        name: impl Fn(&T) -> (Option<NamespaceName>, Arc<str>),
    ) {
        let translated = all.iter().filter(|difference| difference.is_translated());
        for object in translated.filter_map(Difference::newest) {
            let (namespace, name) = name(object);
            let count = self.counts.entry(namespace.clone()).or_default();
            *count = count.saturating_add(1);
            // A namespace is shown where it is its own.
            let namespace = namespace.filter(|_| kind != "Namespace");
            if self.objects.len() < NAMED {
                self.objects.push(ChangedObject { kind, namespace, name });
            }
        }
    }
}

/// What has changed of late.
#[derive(Debug, Default)]
pub struct History {
    passes: VecDeque<PassRecord>,
    names: usize,
    nodes: NodeIds,
    earlier: VecDeque<(Sequence, Vec<Differences>)>,
    earlier_objects: usize,
    /// The oldest pass whose objects can be told.
    reaches_to: Sequence,
    /// When each policy was changed last; of others that was before the first pass.
    policies: BTreeMap<PolicyKey, (Sequence, SystemTime)>,
}

impl History {
    /// Takes down a pass. `differences` are `None` where nobody knows what led to its objects.
    pub(super) fn push(&mut self, record: PassRecord, differences: Option<Vec<Differences>>) {
        let sequence = record.sequence;
        match differences {
            Some(differences) => self.keep(sequence, record.at, differences),
            None => self.forget_earlier(sequence),
        }
        self.names += record.objects.len();
        self.passes.push_back(record);
        while self.passes.len() > PASSES || self.names > NAMES {
            let Some(oldest) = self.passes.pop_front() else { break };
            self.names -= oldest.objects.len();
        }
    }

    /// Forgets how to come back to earlier objects than those of a pass.
    pub(super) fn forget_earlier(&mut self, sequence: Sequence) {
        self.earlier.clear();
        (self.earlier_objects, self.reaches_to) = (0, sequence);
    }

    fn keep(&mut self, sequence: Sequence, at: SystemTime, differences: Vec<Differences>) {
        for policy in differences.iter().flat_map(|it| match it {
            Differences::Policies(all) => &**all,
            _ => &[],
        }) {
            let Some(newest) = policy.newest().filter(|_| policy.is_translated()) else { continue };
            match &policy.after {
                Some(_) => drop(self.policies.insert(newest.key.clone(), (sequence, at))),
                None => drop(self.policies.remove(&newest.key)),
            }
        }
        self.earlier_objects += differences.iter().map(Differences::len).sum::<usize>();
        self.earlier.push_back((sequence, differences));
        while self.earlier_objects > EARLIER || self.earlier.len() > PASSES {
            let Some((oldest, dropped)) = self.earlier.pop_front() else { break };
            self.earlier_objects -= dropped.iter().map(Differences::len).sum::<usize>();
            // The way back still leads to what this pass had published, and no further.
            self.reaches_to = oldest;
        }
    }

    /// The nodes as a set, by ids of this history.
    pub(super) fn node_set<'a>(&mut self, nodes: impl Iterator<Item = &'a NodeName>) -> NodeSet {
        self.nodes.set(nodes)
    }

    /// The name of the node with an id.
    #[must_use]
    pub fn node(&self, id: u32) -> Option<&NodeName> {
        self.nodes.name(id)
    }

    /// The passes that are kept, the newest first.
    pub fn passes(&self) -> impl Iterator<Item = &PassRecord> {
        self.passes.iter().rev()
    }

    /// The pass that knows of the last change of a policy, and when that was published; `None`: it is as it was at first.
    #[must_use]
    pub fn policy(&self, policy: &PolicyKey) -> Option<(Sequence, SystemTime)> {
        self.policies.get(policy).copied()
    }

    /// The newest pass that was published at a moment, or else the oldest that is known; `None`: there was none yet.
    #[must_use]
    pub fn at(&self, moment: SystemTime) -> Option<Sequence> {
        let earlier = self.passes.iter().rev().find(|record| record.at <= moment);
        earlier.or_else(|| self.passes.front()).map(|record| record.sequence)
    }

    /// The namespaces of objects that passes after this one were about; `None`: that is not known any more.
    #[must_use]
    pub fn touched_since(&self, sequence: Sequence) -> Option<BTreeSet<NamespaceName>> {
        let is_kept = self.passes.front().is_none_or(|oldest| oldest.sequence <= sequence.next());
        if sequence < self.reaches_to || !is_kept {
            return None;
        }
        let passes = self.passes.iter().rev().take_while(|record| record.sequence > sequence);
        Some(passes.flat_map(|record| record.counts.keys().flatten().cloned()).collect())
    }

    /// What passes have changed, from one back to another, as far as that is known: the newest first.
    #[must_use]
    pub fn changes(&self, from: Sequence, to: Sequence) -> Vec<(Sequence, Vec<Differences>)> {
        let between = self.earlier.iter().rev().filter(|(sequence, _)| *sequence >= to && *sequence <= from);
        between.cloned().collect()
    }

    /// How to come from the objects of the pass `from` back to those of an earlier one; `None`: they are not known any more.
    #[must_use]
    pub fn way_back(&self, from: Sequence, to: Sequence) -> Option<Vec<Differences>> {
        if to < self.reaches_to {
            return None;
        }
        let between = self.earlier.iter().rev().filter(|(sequence, _)| *sequence > to && *sequence <= from);
        Some(between.flat_map(|(_, differences)| differences.iter().rev().cloned()).collect())
    }
}

/// The objects before all of these, which come newest first.
#[must_use]
pub fn rewound(world: &World, way_back: &[Differences]) -> World {
    let mut world = world.clone();
    way_back.iter().for_each(|differences| world.rewind(differences));
    world
}
