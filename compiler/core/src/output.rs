//! Output: what one node enforces, before it becomes a table.
//!
//! Address sets, peers and rule sets are shared between nodes: an `Arc` that serves many nodes exists once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use flock_shared::{NodeName, PodKey};

use crate::block::Blocks;
use crate::identity::Name;
use crate::object::{Direction, HostInterface, PodPeer, PortName};
use crate::port::{PortRange, PortSet, Protocol};

/// What one node enforces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The node.
    pub node: NodeName,
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
    pub pods: Vec<PodKey>,
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
    /// A flow passes if all of these allow it: one, unless the address is contested. Not empty; ordered by name.
    Rules(Vec<Arc<RuleSet>>),
}

/// What a group of pods allows in one direction, in canonical form. Never everything, never nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct RuleSet {
    /// The variable part of its chain's name.
    pub name: Name,
    /// The direction.
    pub direction: Direction,
    /// Peers that are allowed on every protocol and port.
    pub any_port: Peers,
    /// Further peers by port; the ranges are ordered and disjoint.
    pub ports: Vec<(PortRange, Arc<Peers>)>,
    /// Destinations that are allowed by the name of their port (egress only).
    pub named: Option<Arc<DestinationSet>>,
    /// Allowed peers whose address has several owners: what all owners are allowed. Such addresses are in no
    /// address set and no destination set.
    pub contested: BTreeMap<IpAddr, PortSet>,
}

/// A union of peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers {
    /// The variable part of its chain's name.
    pub name: Name,
    /// Pods, if any selector is in the union.
    pub pods: Option<Arc<AddressSet>>,
    /// Address blocks.
    pub blocks: NamedBlocks,
}

impl Peers {
    /// Whether no peer is in the union.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_none() && self.blocks.blocks.is_empty()
    }
}

/// Address blocks with the names of their sets, which derive from the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedBlocks {
    /// The addresses.
    pub blocks: Blocks,
    /// The variable part of the IPv4 set's name.
    pub v4_name: Name,
    /// The variable part of the IPv6 set's name.
    pub v6_name: Name,
}

/// The addresses of the pods that a union of selectors matches. Its name derives from the selectors, so it stays
/// while members come and go.
#[derive(Debug, PartialEq, Eq)]
pub struct AddressSet {
    /// The variable part of the sets' names.
    pub name: Name,
    /// The selectors.
    pub selectors: BTreeSet<PodPeer>,
    /// IPv4 members.
    pub v4: Arc<BTreeSet<Ipv4Addr>>,
    /// IPv6 members.
    pub v6: Arc<BTreeSet<Ipv6Addr>>,
}

/// Destinations by named port: which pods, and what their port is called.
#[derive(Debug, PartialEq, Eq)]
pub struct DestinationSet {
    /// The variable part of the sets' names.
    pub name: Name,
    /// What is named, for people.
    pub names: BTreeSet<(Protocol, PortName)>,
    /// Members of both families.
    pub members: BTreeSet<(IpAddr, Protocol, u16)>,
}

impl Output {
    /// The output of a node on which nothing is isolated.
    #[must_use]
    pub fn empty(node: NodeName) -> Self {
        Self {
            node,
            families: Families::default(),
            subjects: BTreeMap::new(),
            hairpins: BTreeSet::new(),
            anchors: BTreeMap::new(),
        }
    }

    /// The rule sets that subjects refer to, each once, ordered by direction and name.
    #[must_use]
    pub fn rule_sets(&self) -> Vec<&Arc<RuleSet>> {
        let mut found: BTreeMap<(Direction, &Name), &Arc<RuleSet>> = BTreeMap::new();
        for subject in self.subjects.values() {
            for direction in Direction::ALL {
                if let Isolation::Rules(rule_sets) = subject.isolation(direction) {
                    found.extend(rule_sets.iter().map(|set| ((direction, &set.name), set)));
                }
            }
        }
        found.into_values().collect()
    }
}
