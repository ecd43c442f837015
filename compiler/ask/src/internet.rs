//! `internet`: an address of no pod, node or block that any policy names.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flock_compiler_core::World;
use flock_compiler_core::judge::{Judge, Place};
use flock_compiler_core::object::{Direction, Peer, PeerMatch};
use ipnet::IpNet;

/// So many addresses of each family are tried.
const CANDIDATES: u8 = 128;

/// A place of each family that is nobody's. Blocks that are a whole family (`0.0.0.0/0`) have it, as they have everything; of
/// those that name a part of it, and of what they except, none has it, if one of the addresses that are tried is like that,
/// and else as large ones as possible.
pub(crate) fn places(judge: &Judge<'_>) -> Vec<Place> {
    let named = named(judge.world());
    let place = |candidate: fn(u8) -> Option<IpAddr>| {
        // All of this is lazy: without an index each place is looked for among all pods.
        let candidates = (0..CANDIDATES).filter_map(candidate).map(|address| judge.place_of(address));
        let free = candidates.filter(|place| place.owners.is_empty() && place.host.is_none());
        let ranked = free.filter_map(|place| Some((specificity(&named, place.address?), place)));
        first_least(ranked)
    };
    [place(v4), place(v6)].into_iter().flatten().collect()
}

/// The place of the lowest rank; the rest is not looked at once one of rank 0 is found.
fn first_least(ranked: impl Iterator<Item = (u8, Place)>) -> Option<Place> {
    let mut least: Option<(u8, Place)> = None;
    for (rank, place) in ranked {
        if least.as_ref().is_none_or(|(known, _)| rank < *known) {
            least = Some((rank, place));
        }
        if rank == 0 {
            break;
        }
    }
    least.map(|(_, place)| place)
}

/// The blocks that nodes and policies name.
fn named(world: &World) -> HashSet<IpNet> {
    let mut named: HashSet<IpNet> = HashSet::new();
    // An address there that nobody owns may be taken for that of a pod that has just started, which the internet is
    // not.
    for block in world.nodes().values().flat_map(|node| &node.pod_cidrs) {
        named.extend(IpNet::new(block.first(), block.prefix()).ok());
    }
    let policies = world.policies().values();
    let rules = policies.flat_map(|policy| {
        Direction::ALL.into_iter().flat_map(|direction| policy.rules(direction).unwrap_or_default())
    });
    let peers = rules.flat_map(|rule| match &rule.peers {
        PeerMatch::Any => &[][..],
        PeerMatch::OneOf(peers) => peers,
    });
    for peer in peers {
        let Peer::Block(block) = peer else { continue };
        // As they are written, blocks may have bits beyond the prefix; `specificity` looks for networks.
        named.insert(block.cidr().trunc());
        named.extend(block.except().iter().map(IpNet::trunc));
    }
    named
}

/// The prefix length of the smallest block that has an address; 0: none has, but perhaps all of its family.
fn specificity(named: &HashSet<IpNet>, address: IpAddr) -> u8 {
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let block = |length: &u8| IpNet::new(address, *length).is_ok_and(|net| named.contains(&net.trunc()));
    (1..=longest).rev().find(block).unwrap_or(0)
}

/// Addresses all over what is public of IPv4.
fn v4(number: u8) -> Option<IpAddr> {
    // 71 and 223 have no common factor, so each number has a first byte of its own.
    let first = u8::try_from((u32::from(number) * 71 + 92) % 223 + 1).ok()?;
    let address = Ipv4Addr::new(first, number.wrapping_mul(97).wrapping_add(184), 216, 34);
    // As long as the first byte has nothing private in it, nor has the address.
    let is_public = ![10, 100, 127, 169, 172, 192, 198, 203].contains(&first);
    is_public.then_some(IpAddr::V4(address))
}

/// Addresses all over what is public of IPv6 (2000::/3), documentation and 6to4 left out.
fn v6(number: u8) -> Option<IpAddr> {
    let first = 0x2600 | u16::from(number);
    Some(IpAddr::V6(Ipv6Addr::new(
        first,
        0x2800 ^ (u16::from(number) << 4),
        0x220,
        1,
        0x248,
        0x1893,
        0x25c8,
        0x1946,
    )))
}
