//! What a node pays for a table: its sets, chains and elements, each of which nft and the kernel take time and memory for.

use std::fmt;
use std::ops::{Add, AddAssign};

use crate::block::AddressBits;
use crate::layout::rule_set::FEW_PORTS;
use crate::nft::costs::node::{self, ADDRESS, ADDRESS_RANGE, PORT, PORT_RANGE, SERVICE};
use crate::output::{AddressSet, BlockSet, Membership, NamedRanges, RuleSet, Union};
use crate::port::{PortRange, Protocol};

/// What a table, or a part of one, comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Sets and verdict maps.
    pub sets: u64,
    /// Chains.
    pub chains: u64,
    /// Elements, each with its weight: a range has more than an address.
    pub elements: u64,
}

impl Load {
    /// What a node is given at most.
    pub(in crate::translate) const NODE: Self =
        Self { sets: node::SETS, chains: node::CHAINS, elements: node::ELEMENTS };

    /// What of this is more than in `most`, if anything is.
    pub(in crate::translate) fn excess(&self, most: &Self) -> Option<LoadKind> {
        LoadKind::ALL.into_iter().find(|kind| kind.of(self) > kind.of(most))
    }

    /// A set of pods, in a cluster with so many families.
    pub(in crate::translate) fn of_set(set: &AddressSet, families: u64) -> Self {
        let weight = match set.definition.rule {
            Membership::Pods(_) => ADDRESS,
            Membership::Destinations(_) => SERVICE,
        };
        Self { sets: families, chains: 0, elements: (set.v4.len() + set.v6.len()) as u64 * weight }
    }

    /// A set of blocks, if one is needed.
    pub(in crate::translate) fn of_blocks<T: AddressBits>(blocks: &BlockSet<T>) -> Self {
        blocks.ranges().map_or(Self::default(), |ranges| Self::of_ranges(ranges))
    }

    /// The same of those that need one.
    pub(in crate::translate) fn of_ranges<T: AddressBits>(blocks: &NamedRanges<T>) -> Self {
        Self { sets: 1, chains: 0, elements: blocks.ranges.iter().len() as u64 * ADDRESS_RANGE }
    }

    /// The chain of a union; its sets are counted by themselves.
    pub(in crate::translate) fn of_chain(union: &Union) -> Self {
        Self { chains: u64::from(!union.is_everywhere()), ..Self::default() }
    }

    /// A rule set without the chains of its unions and the sets that it looks up.
    pub(in crate::translate) fn of_rules(rules: &RuleSet) -> Self {
        let is_wide = |range: &PortRange| range.singles(FEW_PORTS).is_none();
        let ranges = || rules.ports.iter().map(|(range, _)| range);
        let single = ranges().filter(|range| !is_wide(range));
        let single: u64 = single.map(|range| u64::from(range.last() - range.first()) + 1).sum();
        // Those of each protocol are in a map of their own.
        let wide = Protocol::ALL.map(|protocol| {
            ranges().filter(|range| range.protocol() == protocol && is_wide(range)).count() as u64
        });
        let maps = u64::from(single > 0) + wide.iter().map(|count| u64::from(*count > 0)).sum::<u64>();
        let wide = wide.iter().sum::<u64>() * PORT_RANGE;
        let contested: u64 = rules.contested.values().map(|ports| 1 + ports.ranges() as u64).sum();
        // In each family those with all ports, and those with some of each protocol.
        let of_contested = if contested > 0 { 2 * (1 + Protocol::ALL.len() as u64) } else { 0 };
        Self { sets: maps + of_contested, chains: 1, elements: single * PORT + wide + contested * PORT_RANGE }
    }
}

impl Add for Load {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sets: self.sets + other.sets,
            chains: self.chains + other.chains,
            elements: self.elements + other.elements,
        }
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Load {
    fn sum<I: Iterator<Item = Self>>(loads: I) -> Self {
        loads.fold(Self::default(), Add::add)
    }
}

/// What a node may have too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::translate) enum LoadKind {
    Sets,
    Chains,
    Elements,
}

impl LoadKind {
    const ALL: [Self; 3] = [Self::Sets, Self::Chains, Self::Elements];

    pub(in crate::translate) const fn of(self, load: &Load) -> u64 {
        match self {
            Self::Sets => load.sets,
            Self::Chains => load.chains,
            Self::Elements => load.elements,
        }
    }
}

impl fmt::Display for LoadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sets => f.write_str("sets of addresses and maps of ports"),
            Self::Chains => f.write_str("chains"),
            Self::Elements => write!(
                f,
                "elements of sets (an address counts {ADDRESS}, one with a port {SERVICE}, a range of addresses \
                 {ADDRESS_RANGE}, a port {PORT}, a range of ports {PORT_RANGE})"
            ),
        }
    }
}
