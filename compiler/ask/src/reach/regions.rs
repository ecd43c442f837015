//! Regions: the addresses of a family, cut by the blocks in play. All addresses of a region are in the same blocks.

use std::collections::BTreeSet;
use std::net::IpAddr;

use flock_compiler_core::World;
use flock_compiler_core::judge::{Judge, Place};
use flock_compiler_core::object::{Direction, Peer, PeerMatch, Policy};
use ipnet::IpNet;

/// So many addresses of a region are tried, to find one that is nobody's.
const TRIES: usize = 256;

/// A region: the addresses of a block without those of the smaller blocks within it.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) block: IpNet,
    /// The next larger block.
    pub(crate) parent: Option<usize>,
}

/// The regions of both families.
#[derive(Debug, Default)]
pub(crate) struct Regions {
    /// A block comes after those that it is within.
    pub(crate) all: Vec<Region>,
    /// By address, where a region begins; `None`: it is in no block.
    v4: Vec<(u128, Option<usize>)>,
    v6: Vec<(u128, Option<usize>)>,
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn address(is_v4: bool, bits: u128) -> Option<IpAddr> {
    match is_v4 {
        true => u32::try_from(bits).ok().map(|bits| IpAddr::V4(bits.into())),
        false => Some(IpAddr::V6(bits.into())),
    }
}

impl Regions {
    /// The regions that the blocks of policies make, and what is taken out of those.
    pub(crate) fn of<'p>(policies: impl Iterator<Item = &'p Policy>, direction: Direction) -> Self {
        let mut blocks: BTreeSet<(bool, u128, u8, IpNet)> = BTreeSet::new();
        let rules = policies.flat_map(|policy| policy.rules(direction).unwrap_or_default());
        for rule in rules {
            let PeerMatch::OneOf(peers) = &rule.peers else { continue };
            for peer in peers {
                let Peer::Block(block) = peer else { continue };
                for net in [block.cidr()].iter().chain(block.except()) {
                    let net = net.trunc();
                    // In this order a block comes before those that are within it: by where it begins, then the
                    // larger one first.
                    blocks.insert((net.addr().is_ipv4(), bits(net.addr()), net.prefix_len(), net));
                }
            }
        }
        let mut regions = Self::default();
        for is_v4 in [true, false] {
            let line = regions.cut(blocks.iter().filter(|it| it.0 == is_v4).map(|it| it.3));
            *(if is_v4 { &mut regions.v4 } else { &mut regions.v6 }) = line;
        }
        regions
    }

    /// Cuts one family at blocks that are in order, a larger one before those within it.
    fn cut(&mut self, blocks: impl Iterator<Item = IpNet>) -> Vec<(u128, Option<usize>)> {
        let mut line: Vec<(u128, Option<usize>)> = vec![(0, None)];
        let mut open: Vec<(usize, u128)> = Vec::new();
        let begin = |line: &mut Vec<(u128, Option<usize>)>, at: u128, region| match line.last_mut() {
            // The smaller of two blocks that begin at one address comes later, and has that address.
            Some(last) if last.0 == at => last.1 = region,
            _ => line.push((at, region)),
        };
        let close = |line: &mut Vec<_>, open: &mut Vec<(usize, u128)>, last: u128| {
            open.pop();
            // Nothing is after the last address of IPv6; what begins after the last of IPv4 is never looked up.
            if let Some(after) = last.checked_add(1) {
                begin(line, after, open.last().map(|(region, _)| *region));
            }
        };
        for block in blocks {
            let (first, last) = (bits(block.network()), bits(block.broadcast()));
            // CIDRs are within each other or apart, never half of both: those that are open are a stack.
            while let Some((_, end)) = open.last().copied().filter(|(_, end)| *end < first) {
                close(&mut line, &mut open, end);
            }
            let region = self.all.len();
            self.all.push(Region { block, parent: open.last().map(|(region, _)| *region) });
            open.push((region, last));
            begin(&mut line, first, Some(region));
        }
        while let Some((_, end)) = open.last().copied() {
            close(&mut line, &mut open, end);
        }
        line
    }

    /// The region of an address; `None`: it is in no block.
    pub(crate) fn at(&self, address: IpAddr) -> Option<usize> {
        let line = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let after = line.partition_point(|(start, _)| *start <= bits(address));
        // The first region begins at address 0, so there is always one.
        line.get(after.checked_sub(1)?)?.1
    }

    /// An address of each region that is nobody's and that no node gives to pods; `None`: none was found.
    pub(crate) fn places(&self, judge: &Judge<'_>) -> Vec<Option<Place>> {
        let mut places: Vec<Option<Place>> = vec![None; self.all.len()];
        for (is_v4, line) in [(true, &self.v4), (false, &self.v6)] {
            let given = given(judge.world(), is_v4);
            let ends = line.iter().skip(1).map(|(start, _)| Some(*start)).chain([None]);
            for ((start, region), end) in line.iter().zip(ends) {
                let Some(place) = region.and_then(|region| places.get_mut(region)) else { continue };
                let most = if is_v4 { u128::from(u32::MAX) } else { u128::MAX };
                let last = end.map_or(most, |end| end - 1);
                // A region that smaller blocks cut into pieces needs an address in one of them only.
                if place.is_none() {
                    *place = free(judge, is_v4, (*start, last), &given);
                }
            }
        }
        places
    }
}

/// What nodes give to pods, in order.
fn given(world: &World, is_v4: bool) -> Vec<(u128, u128)> {
    let blocks = world.nodes().values().flat_map(|node| node.pod_cidrs.iter());
    let nets = blocks.filter_map(|block| IpNet::new(block.first(), block.prefix()).ok());
    let nets = nets.filter(|net| net.addr().is_ipv4() == is_v4);
    let mut given: Vec<(u128, u128)> = nets.map(|net| (bits(net.network()), bits(net.broadcast()))).collect();
    given.sort_unstable();
    given
}

/// A place between two addresses that is nobody's.
fn free(
    judge: &Judge<'_>,
    is_v4: bool,
    (first, last): (u128, u128),
    given: &[(u128, u128)],
) -> Option<Place> {
    let (mut next, mut given) = (first, given.iter().peekable());
    for _ in 0..TRIES {
        // Past every block that has it; blocks are in order of where they begin, and may overlap.
        while let Some((_, end)) = given.next_if(|(start, _)| *start <= next) {
            if *end >= next {
                next = end.checked_add(1)?;
            }
        }
        if next > last {
            return None;
        }
        let place = judge.place_of(address(is_v4, next)?);
        if place.owners.is_empty() && place.host.is_none() {
            return Some(place);
        }
        next = next.checked_add(1)?;
    }
    None
}
