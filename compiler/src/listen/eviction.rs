//! Which connection is evicted where there are too many whose peer is not authenticated. Pure.
//!
//! 1. An attacker holds many connections of few addresses, an agent or a client one or two: one of the address that holds most
//!    is evicted, so an attacker with k addresses crowds out connections of its own first.
//! 2. An attacker with so many addresses that each holds few (a network of IPv6 has no end of them) opens connections to hold
//!    them: the oldest one is evicted, if its peer has had the time to authenticate.
//! 3. If it has not, so many come that chance decides. Who authenticates within milliseconds is hardly ever the one.
//!
//! Networks are not compared: the addresses of a cluster's nodes have more in common than an attacker's.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

/// As many as a node's address may hold at once: its agent, and attempts of it that overlap.
const FEW: usize = 8;

/// A peer that means to authenticate has done so in this time, unless everything is slow.
const TIME_ENOUGH: Duration = Duration::from_secs(2);

/// Connections by their addresses.
#[derive(Debug, Default)]
pub(super) struct EvictionPool {
    /// By number, in the order in which they came.
    members: BTreeMap<u64, Member>,
    groups: HashMap<IpAddr, Group>,
    /// The addresses that hold so many.
    by_size: BTreeMap<usize, Vec<IpAddr>>,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    address: IpAddr,
    since: Instant,
}

/// The members of an address.
#[derive(Debug, Default)]
struct Group {
    members: Vec<u64>,
    /// Its place among the addresses that hold as many.
    at: usize,
}

impl EvictionPool {
    /// How many there are in all.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// How many there are of `address`.
    pub(super) fn count_of(&self, address: IpAddr) -> usize {
        self.groups.get(&address).map_or(0, |group| group.members.len())
    }

    /// Adds one that has just come. Numbers grow.
    pub(super) fn insert(&mut self, number: u64, address: IpAddr, since: Instant) {
        self.members.insert(number, Member { address, since });
        self.change(address, |members| members.push(number));
    }

    /// Takes one out, if it is there.
    pub(super) fn remove(&mut self, number: u64) {
        let Some(Member { address, .. }) = self.members.remove(&number) else { return };
        self.change(address, |members| {
            if let Some(at) = members.iter().position(|it| *it == number) {
                members.swap_remove(at);
            }
        });
    }

    /// One of `address`, at random.
    pub(super) fn any_of(&self, address: IpAddr, random: &mut impl Rng) -> Option<u64> {
        any(&self.groups.get(&address)?.members, random).copied()
    }

    /// The one to evict.
    pub(super) fn victim(&self, now: Instant, random: &mut impl Rng) -> Option<u64> {
        // By number is by age.
        let (most, addresses) = self.by_size.last_key_value()?;
        let (oldest, Member { since, .. }) = self.members.first_key_value()?;
        // Nobody crowds the others out. A younger one may be in the middle of its handshake.
        if *most <= FEW && now.saturating_duration_since(*since) >= TIME_ENOUGH {
            return Some(*oldest);
        }
        self.any_of(*any(addresses, random)?, random)
    }

    /// Changes the members of an address, which is listed under another size then.
    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut Vec<u64>)) {
        let Self { groups, by_size, .. } = self;
        let group = groups.entry(address).or_default();
        let (size, at) = (group.members.len(), group.at);
        // Taken out in constant time: the last of the list moves to its place, and has to know that.
        if let Some(equals) = by_size.get_mut(&size) {
            equals.swap_remove(at);
            if let Some(moved) = equals.get(at).and_then(|moved| groups.get_mut(moved)) {
                moved.at = at;
            }
            if equals.is_empty() {
                by_size.remove(&size);
            }
        }
        let group = groups.entry(address).or_default();
        change(&mut group.members);
        if group.members.is_empty() {
            groups.remove(&address);
            return;
        }
        let equals = by_size.entry(group.members.len()).or_default();
        group.at = equals.len();
        equals.push(address);
    }
}

fn any<'a, T>(of: &'a [T], random: &mut impl Rng) -> Option<&'a T> {
    // An empty range has nothing to choose from.
    if of.is_empty() { None } else { of.get(random.random_range(0..of.len())) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use rand::SeedableRng as _;
    use rand::rngs::SmallRng;

    use super::*;

    /// Silent ones that came a while ago, and honest ones that come now; the silent come first.
    fn crowd(silent: &[IpAddr], honest: &[IpAddr], ago: Duration) -> (EvictionPool, Instant) {
        let (mut crowd, then) = (EvictionPool::default(), Instant::now());
        let came = silent.iter().map(|it| (it, then)).chain(honest.iter().map(|it| (it, then + ago)));
        for (number, (address, at)) in (0..).zip(came) {
            crowd.insert(number, *address, at);
        }
        (crowd, then + ago)
    }

    /// Those that are evicted one after the other, until so many are left.
    fn gone((mut crowd, now): (EvictionPool, Instant), left: usize) -> Vec<usize> {
        let mut random = SmallRng::seed_from_u64(1);
        let mut gone = Vec::new();
        while crowd.len() > left {
            let number = crowd.victim(now, &mut random).unwrap();
            crowd.remove(number);
            gone.push(usize::try_from(number).unwrap());
        }
        gone
    }

    fn v4(first: u32, count: u32) -> Vec<IpAddr> {
        (0..count).map(|number| Ipv4Addr::from_bits(first + number).into()).collect()
    }

    #[test]
    fn who_has_thirty_addresses_crowds_out_nobody_else() {
        let silent = v4(0x0a00_0000, 30).repeat(200);
        for ago in [0, 5] {
            let crowd = crowd(&silent, &v4(0x0a00_0100, 500), Duration::from_secs(ago));
            assert!(gone(crowd, 740).iter().all(|gone| *gone < silent.len()));
        }
    }

    #[test]
    fn who_has_any_number_of_addresses_and_waits_crowds_out_nobody_else() {
        let mut random = SmallRng::seed_from_u64(2);
        let site = 0x2001_0db8_u128 << 96;
        let silent: Vec<IpAddr> =
            (0..4000).map(|_| Ipv6Addr::from_bits(site | (random.random::<u128>() >> 48)).into()).collect();
        let honest: Vec<IpAddr> = (0..500).map(|number| Ipv6Addr::from_bits(site + number).into()).collect();
        assert!(gone(crowd(&silent, &honest, TIME_ENOUGH), 500).iter().all(|gone| *gone < silent.len()));
    }

    #[test]
    fn where_all_have_just_come_chance_decides() {
        let (crowd, now) = crowd(&v4(0, 100), &[], Duration::ZERO);
        let mut random = SmallRng::seed_from_u64(3);
        let chosen: BTreeSet<_> = (0..2000).filter_map(|_| crowd.victim(now, &mut random)).collect();
        assert_eq!(chosen.len(), 100, "each may be the one");
    }

    #[test]
    fn what_comes_and_goes_leaves_nothing() {
        let (mut random, now) = (SmallRng::seed_from_u64(4), Instant::now());
        let (mut crowd, mut present) = (EvictionPool::default(), Vec::new());
        for number in 0..5000 {
            let address = Ipv4Addr::from_bits(random.random_range(0..40)).into();
            crowd.insert(number, address, now);
            present.push((number, address));
            if random.random_bool(0.5) {
                let (gone, _) = present.swap_remove(random.random_range(0..present.len()));
                crowd.remove(gone);
                crowd.remove(gone);
            }
            let of = present.iter().filter(|(_, it)| *it == address).count();
            assert_eq!((crowd.len(), crowd.count_of(address)), (present.len(), of));
        }
        let most = present.iter().map(|(_, address)| crowd.count_of(*address)).max();
        let victim = crowd.victim(now, &mut random).unwrap();
        let (_, of) = present.iter().find(|(number, _)| *number == victim).unwrap();
        assert_eq!(Some(crowd.count_of(*of)), most);
        for (number, _) in present {
            crowd.remove(number);
        }
        assert!(crowd.members.is_empty() && crowd.groups.is_empty() && crowd.by_size.is_empty());
    }
}
