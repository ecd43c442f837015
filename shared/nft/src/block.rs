//! Sets of addresses as canonical ranges: what `ipBlock` and its `except` come to.
//!
//! nft refuses interval sets whose elements overlap, so ranges are subtracted and merged here. Canonical means
//! ordered, neither overlapping nor adjacent: equal sets are equal values.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::identity::{Digest, Identify};

/// An address family's addresses as numbers.
pub trait AddressBits: Copy + Ord + fmt::Debug {
    /// The address type.
    type Address: Copy + Ord + fmt::Display;
    /// The highest address.
    const MAX: Self;
    /// The lowest address.
    const MIN: Self;
    /// Bits of an address.
    const BITS: u32;
    /// The next address, if there is one.
    fn next(self) -> Option<Self>;
    /// The previous address, if there is one.
    fn previous(self) -> Option<Self>;
    /// As an address.
    fn address(self) -> Self::Address;
    /// Bits of the common prefix if `first..=last` is a CIDR block.
    fn prefix(first: Self, last: Self) -> Option<u32>;
}

macro_rules! family {
    ($number:ty, $address:ty) => {
        impl AddressBits for $number {
            type Address = $address;
            const MAX: Self = <$number>::MAX;
            const MIN: Self = 0;
            const BITS: u32 = <$number>::BITS;
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn previous(self) -> Option<Self> {
                self.checked_sub(1)
            }
            fn address(self) -> $address {
                <$address>::from(self)
            }
            fn prefix(first: Self, last: Self) -> Option<u32> {
                let host = first ^ last;
                // All bits that differ must be the lowest ones, and cleared in `first`.
                (host & host.wrapping_add(1) == 0 && first & host == 0).then(|| host.leading_zeros())
            }
        }
    };
}

family!(u32, Ipv4Addr);
family!(u128, Ipv6Addr);

/// Canonical ranges of one family, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges<T>(Box<[(T, T)]>);

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T: AddressBits> Ranges<T> {
    /// Every address of the family.
    #[must_use]
    pub fn full() -> Self {
        Self(Box::new([(T::MIN, T::MAX)]))
    }

    /// The union of ranges that may overlap; a range in the wrong order is empty.
    #[must_use]
    pub fn union_of(ranges: impl IntoIterator<Item = (T, T)>) -> Self {
        let mut merged: Vec<(T, T)> = ranges.into_iter().filter(|(first, last)| first <= last).collect();
        merged.sort_unstable();
        merged.dedup_by(|(first, last), (_, end)| {
            // Overlapping, or adjacent: the address after the previous range is this one's first.
            let joins = *first <= *end || end.next() == Some(*first);
            if joins {
                *end = (*end).max(*last);
            }
            joins
        });
        Self(merged.into())
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::with_capacity(self.0.len());
        let mut holes = other.0.iter().peekable();
        for &(first, last) in &*self.0 {
            let mut start = Some(first);
            while let (Some(from), Some(&&(hole_first, hole_last))) = (start, holes.peek()) {
                if hole_first > last {
                    break;
                }
                // It lies before all that is left, of this range and of those that follow.
                if hole_last < from {
                    holes.next();
                    continue;
                }
                if let Some(end) = hole_first.previous().filter(|end| from <= *end) {
                    left.push((from, end));
                }
                start = hole_last.next().filter(|next| *next <= last);
                // A hole that ends beyond this range may cut into the next one, so it stays.
                if start.is_some() {
                    holes.next();
                }
            }
            if let Some(from) = start {
                left.push((from, last));
            }
        }
        Self(left.into())
    }

    /// Returns true if `address` is in the set.
    #[must_use]
    pub fn contains(&self, address: T) -> bool {
        // Ranges are disjoint: only the last one that begins at or before the address can hold it.
        let after = self.0.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).and_then(|index| self.0.get(index)).is_some_and(|(_, last)| address <= *last)
    }

    /// How many ranges it is.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if the set holds no address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if the set holds every address of the family.
    #[must_use]
    pub fn is_full(&self) -> bool {
        // Canonical: all addresses are always one range.
        self.0.first() == Some(&(T::MIN, T::MAX))
    }

    /// The ranges in order, both ends included.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (T, T)> {
        self.0.iter().copied()
    }

    /// The ranges as nft and people write them: an address, a CIDR block, or `first-last`.
    pub fn display(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|&(first, last)| match T::prefix(first, last) {
            Some(bits) if bits == T::BITS => first.address().to_string(),
            Some(bits) => format!("{}/{bits}", first.address()),
            None => format!("{}-{}", first.address(), last.address()),
        })
    }
}

/// A set of addresses of both families.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blocks {
    /// IPv4.
    pub v4: Ranges<u32>,
    /// IPv6.
    pub v6: Ranges<u128>,
}

impl Blocks {
    /// Every address.
    #[must_use]
    pub fn everywhere() -> Self {
        Self { v4: Ranges::full(), v6: Ranges::full() }
    }

    /// `cidr` without `except`; an except of the other family takes nothing away.
    #[must_use]
    pub fn of(cidr: &IpNet, except: &[IpNet]) -> Self {
        Self::from_nets(std::slice::from_ref(cidr)).without(&Self::from_nets(except))
    }

    fn from_nets(nets: &[IpNet]) -> Self {
        let v4 = nets.iter().filter_map(|net| match net {
            IpNet::V4(net) => Some((u32::from(net.network()), u32::from(net.broadcast()))),
            IpNet::V6(_) => None,
        });
        let v6 = nets.iter().filter_map(|net| match net {
            IpNet::V4(_) => None,
            IpNet::V6(net) => Some((u128::from(net.network()), u128::from(net.broadcast()))),
        });
        Self { v4: Ranges::union_of(v4), v6: Ranges::union_of(v6) }
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self { v4: self.v4.without(&other.v4), v6: self.v6.without(&other.v6) }
    }

    /// The union of several sets.
    #[must_use]
    pub fn union_of<'a>(sets: impl IntoIterator<Item = &'a Self>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for set in sets {
            v4.extend(set.v4.iter());
            v6.extend(set.v6.iter());
        }
        Self { v4: Ranges::union_of(v4), v6: Ranges::union_of(v6) }
    }

    /// Returns true if `address` is in the set.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.contains(address.into()),
            IpAddr::V6(address) => self.v6.contains(address.into()),
        }
    }

    /// Returns true if the set holds no address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Returns true if the set holds every address of both families.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.v4.is_full() && self.v6.is_full()
    }

    /// All ranges for people, IPv4 first.
    pub fn display(&self) -> impl Iterator<Item = String> {
        self.v4.display().chain(self.v6.display())
    }
}

impl Identify for Ranges<u32> {
    fn identify(&self, digest: &mut Digest) {
        digest.count(self.iter().len());
        for (first, last) in self.iter() {
            digest.bytes(&first.to_be_bytes());
            digest.bytes(&last.to_be_bytes());
        }
    }
}

impl Identify for Ranges<u128> {
    fn identify(&self, digest: &mut Digest) {
        digest.count(self.iter().len());
        for (first, last) in self.iter() {
            digest.number(first);
            digest.number(last);
        }
    }
}

impl Identify for Blocks {
    fn identify(&self, digest: &mut Digest) {
        self.v4.identify(digest);
        self.v6.identify(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(cidr: &str, except: &[&str]) -> Vec<String> {
        let except: Vec<IpNet> = except.iter().map(|net| net.parse().unwrap()).collect();
        Blocks::of(&cidr.parse().unwrap(), &except).display().collect()
    }

    #[test]
    fn excepts_are_subtracted() {
        assert_eq!(blocks("10.0.0.0/24", &["10.0.0.0/25"]), ["10.0.0.128/25"]);
        assert_eq!(blocks("10.0.0.0/24", &["10.0.0.64/26"]), ["10.0.0.0/26", "10.0.0.128/25"]);
        assert_eq!(blocks("10.0.0.0/29", &["10.0.0.3/32"]), ["10.0.0.0-10.0.0.2", "10.0.0.4/30"]);
        assert_eq!(blocks("10.0.0.0/24", &["10.0.0.0/24"]), [""; 0]);
        assert_eq!(blocks("fd00::/126", &["fd00::1/128"]), ["fd00::", "fd00::2/127"]);
        assert_eq!(blocks("0.0.0.0/0", &["0.0.0.0/1", "192.0.0.0/2"]), ["128.0.0.0/2"]);
        assert_eq!(blocks("0.0.0.0/0", &["255.255.255.255/32"]), ["0.0.0.0-255.255.255.254"]);
    }

    #[test]
    fn an_except_of_the_other_family_takes_nothing_away_and_opens_nothing() {
        assert_eq!(blocks("10.0.0.0/8", &["::/0"]), ["10.0.0.0/8"]);
    }

    #[test]
    fn unions_merge_overlaps_and_neighbours() {
        let parts: Vec<Blocks> = ["10.0.0.0/25", "10.0.0.128/25", "10.0.1.0/24", "10.0.0.0/30"]
            .iter()
            .map(|net| Blocks::of(&net.parse().unwrap(), &[]))
            .collect();
        assert_eq!(Blocks::union_of(&parts).display().collect::<Vec<_>>(), ["10.0.0.0/23"]);
    }

    #[test]
    fn the_ends_of_the_space_do_not_overflow() {
        let top = Ranges::union_of([(u128::MAX, u128::MAX), (0, 0)]);
        assert!(top.contains(u128::MAX) && top.contains(0) && !top.contains(1));
        assert_eq!(Ranges::<u128>::full().without(&top).iter().collect::<Vec<_>>(), [(1, u128::MAX - 1)]);
        assert!(Ranges::<u32>::full().without(&Ranges::full()).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn set_algebra_agrees_with_membership(
            a in proptest::collection::vec((0u32..64, 0u32..64), 0..8),
            b in proptest::collection::vec((0u32..64, 0u32..64), 0..8),
        ) {
            let inside = |ranges: &[(u32, u32)], x| ranges.iter().any(|(first, last)| *first <= x && x <= *last);
            let (set_a, set_b) = (Ranges::union_of(a.clone()), Ranges::union_of(b.clone()));
            let difference = set_a.without(&set_b);
            for x in 0..70 {
                proptest::prop_assert_eq!(set_a.contains(x), inside(&a, x));
                proptest::prop_assert_eq!(difference.contains(x), inside(&a, x) && !inside(&b, x));
            }
            let gaps = difference.iter().zip(difference.iter().skip(1)).all(|((_, end), (next, _))| end + 1 < next);
            proptest::prop_assert!(gaps, "canonical: {:?}", difference);
        }
    }
}
