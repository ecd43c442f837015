//! FLK008: an `ipBlock` within the addresses of pods or Services.
//!
//! Pods have addresses in the CIDRs of their nodes (`spec.podCIDRs`): a block is told if all of it lies in those, or in what
//! they have in common, or if it has all of them and is no larger than what clusters use ([`LARGEST`]). Where nodes have no
//! CIDRs, and in any case of a small block ([`SMALL`]), one is told that has the address of a pod.
//!
//! Of Services a block is told that lies in the blocks of `ServiceCIDR` objects, and a small one that has the address of a
//! Service, as far as these are known (`Cluster::services`).

use std::net::IpAddr;

use flock_compiler_core::block::{AddressBits, Blocks, Ranges};
use flock_compiler_core::object::{Peer, Policy};
use flock_shared::PodKey;

use super::code::Lint;
use super::findings::{Findings, Found, path};
use super::ground::{Ground, peers, rules};

/// As many addresses as a /16, and as a /48: larger blocks that have every pod CIDR have much else.
const LARGEST: (u128, u128) = (1 << 16, 1 << 80);
/// As many addresses as a /24, and as a /120.
const SMALL: u128 = 256;

/// Addresses of a cluster's own.
#[derive(Debug)]
pub(super) struct Own {
    /// The CIDRs of all nodes.
    cidrs: Blocks,
    /// What all of them have in common, of each family.
    common: Blocks,
    /// Addresses of pods, in order, and whose they are.
    pods: Vec<(IpAddr, PodKey)>,
    /// Where Services have addresses from.
    services: Blocks,
}

/// What a block is.
struct Diagnosis {
    what: String,
    /// Why that is not what was meant.
    why: &'static str,
    suggestion: &'static str,
}

impl Diagnosis {
    fn of_pods(what: String) -> Self {
        let why = "pods get other addresses when they are made anew";
        Self { what, why, suggestion: "podSelector and namespaceSelector in place of ipBlock" }
    }

    fn of_services(what: String) -> Self {
        let why = "policies see the address that a Service leads to, and never its own";
        let suggestion = "podSelector and namespaceSelector, or the addresses of its endpoints";
        Self { what, why, suggestion }
    }
}

impl Own {
    pub(super) fn of(ground: &Ground<'_>) -> Self {
        let world = ground.cluster.world;
        let cidrs = world.nodes().values().flat_map(|node| &node.pod_cidrs);
        let cidrs = union(cidrs.map(|cidr| (cidr.first(), cidr.prefix())));
        let common = Blocks { v4: common(&cidrs.v4), v6: common(&cidrs.v6) };
        let mut pods: Vec<(IpAddr, PodKey)> = world
            .pods()
            .values()
            .flat_map(|pod| pod.addresses().into_iter().flatten().map(|at| (*at, pod.key.clone())))
            .collect();
        pods.sort_unstable();
        let services = ground.cluster.services.map(|it| &*it.cidrs).unwrap_or_default();
        let services = union(services.iter().map(|cidr| (cidr.network(), cidr.prefix_len())));
        Self { cidrs, common, pods, services }
    }

    /// What a block is, if it is addresses of the cluster.
    fn is(&self, ground: &Ground<'_>, block: &Blocks) -> Option<Diagnosis> {
        self.is_of_pods(ground, block).map(Diagnosis::of_pods).or_else(|| {
            let is_within = !block.is_empty() && block.without(&self.services).is_empty();
            match is_within {
                true => Some("is within the addresses of Services".to_owned()),
                false => has_service(ground, block),
            }
            .map(Diagnosis::of_services)
        })
    }

    fn is_of_pods(&self, ground: &Ground<'_>, block: &Blocks) -> Option<String> {
        if block.is_empty() {
            return None;
        }
        let has_cidrs =
            |v4: bool, v6: bool| (!v4 || !self.cidrs.v4.is_empty()) && (!v6 || !self.cidrs.v6.is_empty());
        let is_known = has_cidrs(!block.v4.is_empty(), !block.v6.is_empty());
        if is_known && block.without(&self.common).is_empty() {
            return Some("is within the addresses of pods".to_owned());
        }
        let (v4, v6) = (size(&block.v4), size(&block.v6));
        let has_all = |own: &Blocks, size: u128, largest: u128| {
            !own.is_empty() && size > 0 && size <= largest && own.without(block).is_empty()
        };
        // Each family by itself: an `ipBlock` has one, and nodes may have CIDRs of both.
        let of_v4 = Blocks { v4: self.cidrs.v4.clone(), v6: Ranges::default() };
        let of_v6 = Blocks { v4: Ranges::default(), v6: self.cidrs.v6.clone() };
        if has_all(&of_v4, v4, LARGEST.0) || has_all(&of_v6, v6, LARGEST.1) {
            return Some("is the addresses of all pods, and few others".to_owned());
        }
        if !is_small(block) {
            return None;
        }
        let pod = self.pod_in(block)?;
        Some(match ground.sight.sees(&pod.1.namespace) {
            true => format!("has {}, the address of pod {}", pod.0, pod.1),
            false => "has the address of a pod".to_owned(),
        })
    }

    /// The first pod with an address in a block.
    fn pod_in(&self, block: &Blocks) -> Option<&(IpAddr, PodKey)> {
        ranges(block).find_map(|(first, last)| {
            let index = self.pods.partition_point(|(address, _)| *address < first);
            self.pods.get(index).filter(|(address, _)| *address <= last)
        })
    }
}

/// A small block that has the address of a Service.
fn has_service(ground: &Ground<'_>, block: &Blocks) -> Option<String> {
    let known = &ground.cluster.services.filter(|_| is_small(block))?.known;
    let (address, service) = ranges(block).find_map(|(first, last)| known.range(first..=last).next())?;
    Some(match ground.sight.sees(&service.namespace) {
        true => format!("has {address}, the address of Service {service}"),
        false => "has the address of a Service".to_owned(),
    })
}

fn is_small(block: &Blocks) -> bool {
    size(&block.v4) <= SMALL && size(&block.v6) <= SMALL
}

/// The first and the last address of each range.
fn ranges(block: &Blocks) -> impl Iterator<Item = (IpAddr, IpAddr)> {
    let v4 = block.v4.iter().map(|(first, last)| (first.address().into(), last.address().into()));
    let v6 = block.v6.iter().map(|(first, last)| (first.address().into(), last.address().into()));
    v4.chain(v6)
}

/// All addresses of blocks, each by an address of it and the length of its prefix.
fn union(cidrs: impl Iterator<Item = (IpAddr, u8)>) -> Blocks {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (first, prefix) in cidrs {
        match first {
            IpAddr::V4(first) => v4.push(range_of(u32::from(first), prefix)),
            IpAddr::V6(first) => v6.push(range_of(u128::from(first), prefix)),
        }
    }
    Blocks { v4: Ranges::union_of(v4), v6: Ranges::union_of(v6) }
}

/// The first and the last address of a block.
fn range_of<T: AddressBits + Into<u128> + TryFrom<u128>>(first: T, prefix: u8) -> (T, T) {
    let host = T::BITS.saturating_sub(prefix.into());
    // A shift by all bits is refused: a block of one address has no host bits.
    let mask = u128::MAX.checked_shr(128 - host.min(128)).unwrap_or(0);
    let last = T::try_from(first.into() | mask).unwrap_or(first);
    (first, last)
}

/// What all addresses have in common: the smallest block that has them all, if it is no larger than clusters use.
fn common<T: AddressBits + Into<u128> + TryFrom<u128>>(ranges: &Ranges<T>) -> Ranges<T> {
    let (first, last) = (ranges.iter().next(), ranges.iter().last());
    let (Some((first, _)), Some((_, last))) = (first, last) else { return Ranges::default() };
    let differing = 128 - (first.into() ^ last.into()).leading_zeros();
    let largest = if T::BITS == 32 { LARGEST.0 } else { LARGEST.1 };
    let mask = u128::MAX.checked_shr(128 - differing).unwrap_or(0);
    let block = (T::try_from(first.into() & !mask), T::try_from(first.into() | mask));
    match block {
        (Ok(first), Ok(last)) if mask < largest => Ranges::union_of([(first, last)]),
        _ => ranges.clone(),
    }
}

/// How many addresses there are, at most.
fn size<T: AddressBits + Into<u128>>(ranges: &Ranges<T>) -> u128 {
    ranges
        .iter()
        .fold(0u128, |sum, (first, last)| sum.saturating_add((last.into() - first.into()).saturating_add(1)))
}

/// Looks at the blocks of a policy.
pub(super) fn policy(ground: &Ground<'_>, own: &Own, policy: &Policy, findings: &mut Findings<'_>) {
    for (direction, index, rule) in rules(policy) {
        for (position, peer) in peers(rule).iter().enumerate() {
            let Peer::Block(block) = peer else { continue };
            let Some(Diagnosis { what, why, suggestion }) = own.is(ground, block.blocks()) else { continue };
            let first = block.blocks().display().next().unwrap_or_default();
            let message = format!("{first} {what}: {why}");
            let suggestion = suggestion.to_owned();
            let field = format!("{}.ipBlock.cidr", path::peer(direction, index, position));
            findings.of_policy(Lint::FLK008, policy, Found { field, message, suggestion });
        }
    }
}
