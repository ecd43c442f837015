//! Output: what one node enforces, before it becomes a table.
//!
//! Everything but the frame itself is shared: a rule set, a union of peers or a set of pods that serves many nodes
//! exists once. Sets of pods stand beside the frame, so that a new member changes no rule set.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use flock_shared::{NodeName, PodKey, Revision};

use crate::block::Ranges;
use crate::identity::{Identity, Name};
use crate::members::{Member, Members};
use crate::object::{Direction, HostInterface, Peer, PodPeer, PortName};
use crate::port::{PortRange, PortSet, Protocol};
use crate::revision::{FrameDigest, SetTree};

/// What one node enforces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    node: NodeName,
    frame: Arc<Frame>,
    frame_digest: FrameDigest,
    sets: Arc<[Arc<MemberSet>]>,
    tree: SetTree,
    revision: Revision,
}

impl Output {
    /// An output of a frame and the sets that its rule sets refer to, in any order.
    #[must_use]
    pub fn new(node: NodeName, frame: Arc<Frame>, mut sets: Vec<Arc<MemberSet>>) -> Self {
        sets.sort_unstable_by(|a, b| a.definition.name.cmp(&b.definition.name));
        let tree = SetTree::of(&sets);
        let frame_digest = FrameDigest::of(&frame);
        let revision = tree.revision(&frame_digest);
        Self { node, frame, frame_digest, sets: sets.into(), tree, revision }
    }

    /// The output of a node on which nothing is isolated.
    #[must_use]
    pub fn empty(node: NodeName, families: Families) -> Self {
        Self::new(node, Arc::new(Frame { families, ..Frame::default() }), Vec::new())
    }

    /// The same frame with sets replaced by newer ones of the same definition.
    #[must_use]
    pub fn with_sets<'a>(&self, newer: impl IntoIterator<Item = &'a Arc<MemberSet>>) -> Self {
        let mut sets = self.sets.to_vec();
        let mut changed: BTreeSet<usize> = BTreeSet::new();
        for set in newer {
            if let Ok(place) = self.place(&set.definition.name)
                && let Some(known) = sets.get_mut(place)
            {
                *known = Arc::clone(set);
                changed.insert(place);
            }
        }
        let mut tree = self.tree.clone();
        changed.into_iter().for_each(|place| tree.refresh(&sets, place));
        let revision = tree.revision(&self.frame_digest);
        Self { sets: sets.into(), tree, revision, ..self.clone() }
    }

    /// The same output, with the frame of another one if both are equal.
    #[must_use]
    pub(crate) fn sharing_frame(self, other: &Self) -> Self {
        if self.frame == other.frame { Self { frame: Arc::clone(&other.frame), ..self } } else { self }
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &NodeName {
        &self.node
    }

    /// All but the members of sets of pods.
    #[must_use]
    pub const fn frame(&self) -> &Arc<Frame> {
        &self.frame
    }

    /// The sets of pods that rule sets of the frame refer to, ordered by name.
    #[must_use]
    pub fn sets(&self) -> &[Arc<MemberSet>] {
        &self.sets
    }

    /// The set of a definition's name.
    #[must_use]
    pub fn set(&self, name: &Name) -> Option<&Arc<MemberSet>> {
        self.place(name).ok().and_then(|place| self.sets.get(place))
    }

    fn place(&self, name: &Name) -> Result<usize, usize> {
        self.sets.binary_search_by(|set| set.definition.name.cmp(name))
    }

    /// The name of the state that this output describes: equal for equal frames and members, whatever led there.
    #[must_use]
    pub const fn revision(&self) -> &Revision {
        &self.revision
    }
}

/// All that a node enforces but the members of sets of pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// The families that pods of the cluster have addresses of; sets of other families are left out.
    pub families: Families,
    /// The addresses of local pods that are isolated in at least one direction.
    pub subjects: BTreeMap<IpAddr, Subject>,
    /// Pairs of addresses that always reach each other: those of one isolated local pod.
    pub hairpins: BTreeSet<(IpAddr, IpAddr)>,
    /// The addresses of the pods behind each host interface of local pods, where it is known.
    pub anchors: BTreeMap<HostInterface, BTreeSet<IpAddr>>,
}

/// Which address families occur.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// An isolated address of a local pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The pods that own the address: one, unless it is contested.
    pub pods: Box<[PodKey]>,
    /// Towards the address.
    pub ingress: Isolation,
    /// From the address.
    pub egress: Isolation,
}

impl Subject {
    /// The isolation in `direction`.
    #[must_use]
    pub const fn isolation(&self, direction: Direction) -> &Isolation {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// How an address is isolated in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// Not at all: no policy selects it, or everything is allowed.
    Open,
    /// Nothing is allowed.
    Closed,
    /// What these rules allow.
    Rules(Arc<RuleSet>),
    /// What every one of these allows, for the address is contested. At least two, ordered by name.
    All(Box<[Arc<RuleSet>]>),
}

impl Isolation {
    /// The rule sets, ordered by name.
    #[must_use]
    pub fn rule_sets(&self) -> &[Arc<RuleSet>] {
        match self {
            Self::Open | Self::Closed => &[],
            Self::Rules(one) => std::slice::from_ref(one),
            Self::All(several) => several,
        }
    }
}

/// What a group of pods allows in one direction, in canonical form. Never everything, never nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct RuleSet {
    /// The variable part of its chain's name.
    pub name: Name,
    /// The direction.
    pub direction: Direction,
    /// Peers that are allowed on every protocol and port.
    pub any_port: Union,
    /// Further peers by port; the ranges are ordered and disjoint.
    pub ports: Box<[(PortRange, Arc<Peers>)]>,
    /// Destinations that are allowed by the name of their port (egress only).
    pub named: Option<Arc<SetDefinition>>,
    /// Allowed peers whose address has several owners: what all owners are allowed. Such addresses are members of
    /// no set.
    pub contested: BTreeMap<IpAddr, PortSet>,
    /// Tells it from rule sets that become other chains: its identity, and the names of its parts.
    pub digest: Identity,
}

impl RuleSet {
    /// Every union of peers, that of any port first.
    pub fn unions(&self) -> impl Iterator<Item = &Union> {
        std::iter::once(&self.any_port).chain(self.ports.iter().map(|(_, peers)| &peers.union))
    }

    /// The sets of pods that its chains look up; one may come several times.
    pub fn sets(&self) -> impl Iterator<Item = &Arc<SetDefinition>> {
        self.unions().filter_map(|union| union.pods.as_ref()).chain(&self.named)
    }
}

/// A union of peers with a chain of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Peers {
    /// The variable part of its chain's name.
    pub name: Name,
    /// The peers.
    pub union: Union,
}

/// A union of peers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Union {
    /// Pods, if any selector is in the union.
    pub pods: Option<Arc<SetDefinition>>,
    /// IPv4 addresses.
    pub v4: BlockSet<u32>,
    /// IPv6 addresses.
    pub v6: BlockSet<u128>,
}

impl Union {
    /// Whether every address of both families is in the union.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.v4 == BlockSet::Everywhere && self.v6 == BlockSet::Everywhere
    }

    /// Whether no peer is in the union.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_none() && self.v4 == BlockSet::Nowhere && self.v6 == BlockSet::Nowhere
    }
}

/// Address blocks of one family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BlockSet<T> {
    /// No address.
    #[default]
    Nowhere,
    /// Every address of the family: no set is needed.
    Everywhere,
    /// Some: a set whose name derives from them.
    Some(Arc<NamedRanges<T>>),
}

/// Ranges of one family with the name of their set.
#[derive(Debug, PartialEq, Eq)]
pub struct NamedRanges<T> {
    /// The variable part of the set's name.
    pub name: Name,
    /// The addresses.
    pub ranges: Ranges<T>,
}

/// Which pods, or destinations, are the members of a set. Its name derives from this, so it stays while members come
/// and go.
#[derive(Debug, PartialEq, Eq)]
pub struct SetDefinition {
    /// The variable part of the sets' names.
    pub name: Name,
    /// Who is in it.
    pub rule: Membership,
}

/// Who is in a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Membership {
    /// The addresses of pods that one of these matches; ordered.
    Pods(Box<[Arc<PodPeer>]>),
    /// The addresses of pods with the ports that one of these names; ordered.
    Destinations(Box<[NamedDestination]>),
}

/// Destinations by the name of their port: which ones, and the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedDestination {
    /// `None`: any destination.
    pub peer: Option<Peer>,
    /// The protocol that the container port must have.
    pub protocol: Protocol,
    /// The port's name.
    pub name: PortName,
}

/// The members of a set as of one moment.
#[derive(Debug, PartialEq, Eq)]
pub struct MemberSet {
    /// Who is in it.
    pub definition: Arc<SetDefinition>,
    /// IPv4 members.
    pub v4: Members<Member<Ipv4Addr>>,
    /// IPv6 members.
    pub v6: Members<Member<Ipv6Addr>>,
    /// Tells it from sets of another name or with other members.
    pub digest: Identity,
}

impl MemberSet {
    /// A set with its digest.
    #[must_use]
    pub fn new(
        definition: Arc<SetDefinition>,
        v4: Members<Member<Ipv4Addr>>,
        v6: Members<Member<Ipv6Addr>>,
    ) -> Self {
        let digest = crate::revision::of_set(&definition, &v4, &v6);
        Self { definition, v4, v6, digest }
    }
}

impl Frame {
    /// The rule sets that subjects refer to, each once, ordered by direction and name.
    #[must_use]
    pub fn rule_sets(&self) -> Vec<&Arc<RuleSet>> {
        let isolations = self.subjects.values().flat_map(|subject| [&subject.ingress, &subject.egress]);
        let mut found: Vec<&Arc<RuleSet>> = isolations.flat_map(Isolation::rule_sets).collect();
        found.sort_unstable_by(|a, b| (a.direction, &a.name).cmp(&(b.direction, &b.name)));
        found.dedup_by(|a, b| Arc::ptr_eq(a, b) || (a.direction, &a.name) == (b.direction, &b.name));
        found
    }
}
