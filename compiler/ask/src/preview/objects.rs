//! What is in play: every version of every policy, with its rules by number, and the namespaces before and after.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use flock_compiler_core::object::{
    Direction, Namespace, NamespaceScope, Peer, PeerMatch, PodPeer, Policy, PolicyBody, PortMatch, PortName,
    RulePorts,
};
use flock_compiler_core::port::PortRange;
use flock_compiler_core::{Labels, Operator, Selector, World};
use flock_shared::{NamespaceName, PolicyKey};

use super::work::Work;
use super::{Proposed, When};
use crate::AskError;

/// A version of a policy: what is there, or what is proposed in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct VersionId(u32);

/// A peer; equal ones have one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PeerId(u32);

/// A version of a policy.
#[derive(Debug)]
pub(super) struct Version<'a> {
    pub policy: &'a Policy,
    /// Whether it is there only before, or only after.
    pub changed: bool,
    rules: [Vec<Rule<'a>>; 2],
    /// Whether it has peers by namespace that match one before or after that they do not match after or before.
    tells: [bool; 2],
}

/// A rule.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    /// `None`: any.
    pub peers: Option<Vec<PeerId>>,
    pub ports: &'a RulePorts,
}

/// A namespace before and after.
#[derive(Debug, Clone, Copy)]
pub(super) struct NamespaceState<'a> {
    pub before: Option<&'a Labels>,
    pub after: Option<&'a Labels>,
}

/// What is in play.
#[derive(Debug, Default)]
pub(super) struct Objects<'a> {
    versions: Vec<Version<'a>>,
    by_namespace: BTreeMap<&'a NamespaceName, [Vec<VersionId>; 2]>,
    peers: Vec<&'a Peer>,
    namespaces: HashMap<&'a NamespaceName, NamespaceState<'a>>,
    /// Those whose labels change, or that are created.
    pub changed_namespaces: HashSet<&'a NamespaceName>,
}

/// What selectors of pods ask for, and the port names of rules.
#[derive(Debug, Default)]
pub(super) struct Vocabulary<'a> {
    pub keys: HashMap<&'a str, (u32, HashMap<&'a str, u32>)>,
    pub port_names: HashSet<&'a PortName>,
}

pub(super) const fn slot(direction: Direction) -> usize {
    match direction {
        Direction::Ingress => 0,
        Direction::Egress => 1,
    }
}

impl<'a> NamespaceState<'a> {
    pub(super) const fn labels(&self, when: When) -> Option<&'a Labels> {
        match when {
            When::Before => self.before,
            When::After => self.after,
        }
    }
}

impl<'a> Objects<'a> {
    pub(super) fn new(world: &'a World, proposed: &'a Proposed, work: &mut Work) -> Result<Self, AskError> {
        let mut objects = Self::default();
        let state = |namespace: &'a Arc<Namespace>| NamespaceState {
            before: Some(&namespace.labels),
            after: Some(&namespace.labels),
        };
        objects.namespaces =
            world.namespaces().iter().map(|(name, namespace)| (name, state(namespace))).collect();
        for namespace in &proposed.namespaces {
            let nothing = NamespaceState { before: None, after: None };
            let known = objects.namespaces.entry(&namespace.name).or_insert(nothing);
            known.after = Some(&namespace.labels);
            // A namespace that is proposed as it is changes nothing, and no pod has to be looked at for it.
            if known.before != known.after {
                objects.changed_namespaces.insert(&namespace.name);
            }
        }
        let changes: BTreeMap<&PolicyKey, Option<&'a Policy>> = proposed
            .policies
            .iter()
            .map(|policy| (&policy.key, Some(policy)))
            .chain(proposed.deleted.iter().map(|key| (key, None)))
            .collect();
        let mut numbers: HashMap<&'a Peer, PeerId> = HashMap::new();
        let mut add = |objects: &mut Self, policy: &'a Policy, when: &[When]| -> Result<(), AskError> {
            let id = VersionId(u32::try_from(objects.versions.len()).unwrap_or(u32::MAX));
            let version = objects.version(policy, when.len() < 2, &mut numbers, work)?;
            objects.versions.push(version);
            let lists = objects.by_namespace.entry(&policy.key.namespace).or_default();
            when.iter().for_each(|when| lists[*when as usize].push(id));
            Ok(())
        };
        for (key, policy) in world.policies() {
            match changes.get(key) {
                // Not what is proposed as it is: that stays one version, and its pods are not affected.
                Some(after) if !after.is_some_and(|after| is_same(policy, after)) => {
                    add(&mut objects, policy, &[When::Before])?;
                }
                Some(_) | None => add(&mut objects, policy, &[When::Before, When::After])?,
            }
        }
        for (key, after) in changes {
            let Some(after) = after else { continue };
            if !world.policies().get(key).is_some_and(|before| is_same(before, after)) {
                add(&mut objects, after, &[When::After])?;
            }
        }
        Ok(objects)
    }

    fn version(
        &mut self,
        policy: &'a Policy,
        changed: bool,
        numbers: &mut HashMap<&'a Peer, PeerId>,
        work: &mut Work,
    ) -> Result<Version<'a>, AskError> {
        let (mut rules, mut tells) = ([Vec::new(), Vec::new()], [false, false]);
        work.spend(1)?;
        for direction in Direction::ALL {
            let slot = slot(direction);
            for rule in policy.rules(direction).unwrap_or_default() {
                work.spend(1 + ports_of(&rule.ports).len())?;
                let peers = match &rule.peers {
                    PeerMatch::Any => None,
                    PeerMatch::OneOf(all) => {
                        // `tells` asks every peer about every changed namespace.
                        work.spend(all.len() * (4 + self.changed_namespaces.len()))?;
                        tells[slot] = tells[slot] || all.iter().any(|peer| self.tells(peer));
                        let mut ids: Vec<PeerId> =
                            all.iter().map(|peer| self.number(peer, numbers)).collect();
                        ids.sort_unstable();
                        Some(ids)
                    }
                };
                rules[slot].push(Rule { peers, ports: &rule.ports });
            }
        }
        Ok(Version { policy, changed, rules, tells })
    }

    fn number(&mut self, peer: &'a Peer, numbers: &mut HashMap<&'a Peer, PeerId>) -> PeerId {
        *numbers.entry(peer).or_insert_with(|| {
            let id = PeerId(u32::try_from(self.peers.len()).unwrap_or(u32::MAX));
            self.peers.push(peer);
            id
        })
    }

    /// Returns true if a peer matches a changed namespace before and not after, or the reverse.
    fn tells(&self, peer: &Peer) -> bool {
        let Peer::Pods(peer) = peer else { return false };
        // A peer that names its namespace does not look at labels of namespaces.
        let NamespaceScope::Matching(selector) = &peer.namespaces else { return false };
        let matches = |labels: Option<&Labels>| labels.is_some_and(|labels| selector.matches(labels));
        self.changed_namespaces.iter().any(|name| {
            let state = self.namespace(name);
            matches(state.before) != matches(state.after)
        })
    }

    pub(super) fn namespace(&self, name: &NamespaceName) -> NamespaceState<'a> {
        self.namespaces.get(name).copied().unwrap_or(NamespaceState { before: None, after: None })
    }

    pub(super) fn version_of(&self, id: VersionId) -> Option<&Version<'a>> {
        self.versions.get(id.0 as usize)
    }

    pub(super) fn policy(&self, id: VersionId) -> Option<&'a Policy> {
        self.version_of(id).map(|version| version.policy)
    }

    pub(super) fn is_changed(&self, id: VersionId) -> bool {
        self.version_of(id).is_some_and(|version| version.changed)
    }

    pub(super) fn tells_apart(&self, id: VersionId, direction: Direction) -> bool {
        self.version_of(id).is_some_and(|version| version.tells[slot(direction)])
    }

    /// The rules of a version, in order.
    pub(super) fn rules(&self, id: VersionId, direction: Direction) -> &[Rule<'a>] {
        self.version_of(id).map_or(&[], |version| &version.rules[slot(direction)])
    }

    pub(super) fn peer(&self, id: PeerId) -> Option<&'a Peer> {
        self.peers.get(id.0 as usize).copied()
    }

    /// The versions in a namespace, by name.
    pub(super) fn versions_in(&self, namespace: &NamespaceName, when: When) -> &[VersionId] {
        self.by_namespace.get(namespace).map_or(&[], |lists| &lists[when as usize])
    }

    /// All versions.
    pub(super) fn versions(&self) -> impl Iterator<Item = VersionId> + use<'a> {
        (0..u32::try_from(self.versions.len()).unwrap_or(u32::MAX)).map(VersionId)
    }

    /// What all selectors and rules ask of pods.
    pub(super) fn vocabulary(&self) -> Vocabulary<'a> {
        let mut words = Vocabulary::default();
        for version in &self.versions {
            words.add(&version.policy.pod_selector);
            for rule in version.rules.iter().flatten() {
                words.port_names.extend(ports_of(rule.ports).iter().filter_map(|port| match port {
                    PortMatch::Named { name, .. } => Some(name),
                    PortMatch::Range(_) => None,
                }));
            }
        }
        for peer in &self.peers {
            if let Peer::Pods(peer) = peer {
                words.add(&peer.pods);
            }
        }
        words
    }

    /// Returns true if a peer selects pods of a namespace.
    pub(super) fn reaches(&self, peer: &PodPeer, namespace: &NamespaceName, when: When) -> bool {
        match &peer.namespaces {
            NamespaceScope::Named(own) => own == namespace,
            NamespaceScope::Matching(selector) => {
                self.namespace(namespace).labels(when).is_some_and(|labels| selector.matches(labels))
            }
        }
    }

    /// Returns true if a peer selects pods with these labels in a namespace.
    pub(super) fn selects(
        &self,
        peer: &PodPeer,
        namespace: &NamespaceName,
        labels: &Labels,
        when: When,
    ) -> bool {
        peer.pods.matches(labels) && self.reaches(peer, namespace, when)
    }
}

impl<'a> Vocabulary<'a> {
    fn add(&mut self, selector: &'a Selector) {
        for requirement in selector.requirements() {
            let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
            let (_, values) = self.keys.entry(&requirement.key).or_insert_with(|| (next, HashMap::new()));
            if let Operator::In(all) | Operator::NotIn(all) = &requirement.operator {
                for value in all.iter() {
                    // 0 is any other value.
                    let next = u32::try_from(values.len() + 1).unwrap_or(u32::MAX);
                    values.entry(value).or_insert(next);
                }
            }
        }
    }
}

/// The ports that a rule names; none: any.
pub(super) fn ports_of(ports: &RulePorts) -> &[PortMatch] {
    match ports {
        RulePorts::Any => &[],
        RulePorts::OneOf(ports) => ports,
    }
}

/// Numbers and ranges that a rule names, without those that are all of a protocol.
pub(super) fn ranges_of(ports: &RulePorts) -> impl Iterator<Item = PortRange> {
    let ranges = ports_of(ports).iter().filter_map(|port| match port {
        PortMatch::Range(range) => Some(*range),
        PortMatch::Named { .. } => None,
    });
    ranges.filter(|range| (range.first(), range.last()) != (0, u16::MAX))
}

/// Returns true if two versions of a policy say the same.
fn is_same(before: &Policy, after: &Policy) -> bool {
    let says_the_same = match (&before.body, &after.body) {
        (PolicyBody::Understood(before), PolicyBody::Understood(after)) => before == after,
        // Neither allows anything, whatever it is that was not understood.
        (PolicyBody::NotUnderstood { types: before, .. }, PolicyBody::NotUnderstood { types: after, .. }) => {
            before == after
        }
        _ => false,
    };
    says_the_same && before.pod_selector == after.pod_selector
}
