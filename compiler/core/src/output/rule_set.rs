//! Rule sets: what a group of pods allows in one direction, and the unions and sets that this is made of. One
//! serves many nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

pub use flock_nft::NamedRanges;

use super::address_set::SetDefinition;
use crate::block::{AddressBits, Ranges};
use crate::identity::{Identify, Identity, Name};
use crate::object::Direction;
use crate::port::{PortRange, PortSet};

/// What a group of pods allows in one direction, in canonical form. Never everything, never nothing.
// In this order: whoever counts a reference finds what is asked for most in the same cache line.
#[repr(C)]
#[derive(Debug, PartialEq, Eq)]
pub struct RuleSet {
    /// Tells it from rule sets that become other chains.
    pub identity: Identity,
    /// Its name, and those of what other chains may use too.
    pub fingerprint: Fingerprint,
    /// The variable part of its chain's name.
    pub name: Name,
    /// The direction.
    pub direction: Direction,
    /// Peers that are allowed on every protocol and port.
    pub any_port: Union,
    /// Further peers by port; the ranges are ordered and disjoint.
    pub ports: Box<[(PortRange, Arc<Union>)]>,
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
        Self(1 << (name.last() & 63))
    }

    /// Those of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns true if there may be a common name.
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
        // Of unions of some ports only: that of any port has no chain of its own.
        let peers = rules.ports.iter().map(|(_, union)| &union.name);
        let v4 = rules.unions().filter_map(|union| union.v4.ranges()).map(|ranges| &ranges.name);
        let v6 = rules.unions().filter_map(|union| union.v6.ranges()).map(|ranges| &ranges.name);
        // Sets of contested addresses have the rule set's name, however its chain is reached.
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
        std::iter::once(&self.any_port).chain(self.ports.iter().map(|(_, union)| &**union))
    }

    /// The sets of pods that its chains look up; one may come several times.
    pub fn sets(&self) -> impl Iterator<Item = &Arc<SetDefinition>> {
        self.unions().filter_map(|union| union.pods.as_ref()).chain(&self.named)
    }
}

/// A union of peers, of some ports or of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Union {
    /// Tells it from other unions.
    pub identity: Identity,
    /// The variable part of the name of its chain, which it has if it is one of some ports.
    pub name: Name,
    /// Pods, if any selector is in the union.
    pub pods: Option<Arc<SetDefinition>>,
    /// IPv4 addresses.
    pub v4: BlockSet<u32>,
    /// IPv6 addresses.
    pub v6: BlockSet<u128>,
}

impl Union {
    /// Returns true if every address of both families is in the union.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.v4 == BlockSet::Everywhere && self.v6 == BlockSet::Everywhere
    }
}

/// Address blocks of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockSet<T> {
    /// No address.
    Nowhere,
    /// Every address of the family: no set is needed.
    Everywhere,
    /// Some: a set whose name derives from them.
    Some(Arc<NamedRanges<T>>),
}

impl<T> BlockSet<T> {
    /// Those that need a set.
    #[must_use]
    pub const fn ranges(&self) -> Option<&Arc<NamedRanges<T>>> {
        match self {
            Self::Nowhere | Self::Everywhere => None,
            Self::Some(ranges) => Some(ranges),
        }
    }
}

impl<T: AddressBits> From<Ranges<T>> for BlockSet<T>
where
    Ranges<T>: Identify,
{
    fn from(ranges: Ranges<T>) -> Self {
        if ranges.is_empty() {
            return Self::Nowhere;
        }
        if ranges.is_full() {
            return Self::Everywhere;
        }
        let identity = ranges.identity();
        Self::Some(Arc::new(NamedRanges { identity, name: Name::of(&identity), ranges }))
    }
}
