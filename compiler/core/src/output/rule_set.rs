//! Rule sets: what a group of pods allows in one direction, and the parts that this is made of. One serves many nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

pub use flock_nft::NamedRanges;

use super::member_set::SetDefinition;
use crate::identity::{Identity, Name};
use crate::object::Direction;
use crate::port::{PortRange, PortSet};

/// What a group of pods allows in one direction, in canonical form. Never everything, never nothing.
// In this order: whoever counts a reference finds what is asked for most in the same cache line.
#[repr(C)]
#[derive(Debug, PartialEq, Eq)]
pub struct RuleSet {
    /// Tells it from rule sets that become other chains: its identity, and the names of its parts.
    pub digest: Identity,
    /// Its name, and those of what other chains may use too.
    pub fingerprint: Fingerprint,
    /// The variable part of its chain's name.
    pub name: Name,
    /// The direction.
    pub direction: Direction,
    /// Peers that are allowed on every protocol and port.
    pub any_port: Union,
    /// Further peers by port; the ranges are ordered and disjoint.
    pub ports: Box<[(PortRange, Arc<Peers>)]>,
    /// Peers that are allowed on ports of their own: destinations by the name of their port (egress only), and where there
    /// would be too many unions, those of a few ports each.
    pub named: Option<Arc<SetDefinition>>,
    /// Allowed peers whose address has several owners: what all owners are allowed. Such addresses are members of
    /// no set.
    pub contested: BTreeMap<IpAddr, PortSet>,
}

/// Names as bits: without a common bit, there is no common name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of rule sets.
    pub rule_sets: Bits,
    /// Of chains of peers and of sets of blocks and contested addresses.
    pub parts: Bits,
}

/// A few bits of names of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bits(u64);

impl Bits {
    /// The bit of a name.
    #[must_use]
    pub const fn of(name: &Name) -> Self {
        Self(1 << (name.short() & 63))
    }

    /// Those of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there may be a common name.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Fingerprint {
    /// Those of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self { rule_sets: self.rule_sets.union(other.rule_sets), parts: self.parts.union(other.parts) }
    }

    /// The bits of a rule set.
    #[must_use]
    pub fn of(rules: &RuleSet) -> Self {
        let peers = rules.ports.iter().map(|(_, peers)| &peers.name);
        let v4 = rules.unions().filter_map(|union| union.v4.name());
        let v6 = rules.unions().filter_map(|union| union.v6.name());
        let contested = (!rules.contested.is_empty()).then_some(&rules.name);
        let parts = peers.chain(v4).chain(v6).chain(contested);
        Self {
            rule_sets: Bits::of(&rules.name),
            parts: parts.map(Bits::of).fold(Bits::default(), Bits::union),
        }
    }
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

impl<T> BlockSet<T> {
    /// The name of their set, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::Nowhere | Self::Everywhere => None,
            Self::Some(ranges) => Some(&ranges.name),
        }
    }
}
