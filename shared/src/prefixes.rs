//! A bounded set of addresses, as prefixes: what does not fit is covered by wider ones, so it never says too little.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many prefixes a set has at most: less than 6 KB in a message.
pub const PREFIXES_LIMIT: usize = 256;

/// The addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// No prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The length is longer than an address.
    #[error("a prefix of {length} bits; an address of its family has {limit}")]
    Length {
        /// Bits found.
        length: u32,
        /// Bits of an address.
        limit: u8,
    },
    /// Bits behind the prefix are set.
    #[error("{address}/{length} has bits behind the prefix")]
    HostBits {
        /// The address found.
        address: IpAddr,
        /// Its prefix.
        length: u8,
    },
}

const fn bits_of(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address without the bits behind the first `length`.
fn masked(address: IpAddr, length: u8) -> IpAddr {
    // For a prefix of no bits the shift is by all of them, which overflows: then nothing is left of the mask.
    let behind = u32::from(bits_of(&address).saturating_sub(length));
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(behind).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

impl Prefix {
    /// A prefix of an address, whose bits behind it are clear.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(address: IpAddr, length: u32) -> Result<Self, PrefixError> {
        let limit = bits_of(&address);
        let short = u8::try_from(length).ok().filter(|length| *length <= limit);
        let length = short.ok_or(PrefixError::Length { length, limit })?;
        if masked(address, length) != address {
            return Err(PrefixError::HostBits { address, length });
        }
        Ok(Self { address, length })
    }

    /// The first address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits the addresses share.
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Returns true if the address begins like this.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.length) == self.address
    }

    /// How many bits are free.
    const fn free(&self) -> u8 {
        bits_of(&self.address) - self.length
    }

    fn widened(self) -> Self {
        let length = self.length.saturating_sub(1);
        Self { address: masked(self.address, length), length }
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Self { length: bits_of(&address), address }
    }
}

/// At most [`PREFIXES_LIMIT`] prefixes in order, none within another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefixes(Vec<Prefix>);

impl Prefixes {
    /// Adds what these cover. Where they become too many, the longest are made shorter.
    pub fn extend(&mut self, more: impl IntoIterator<Item = Prefix>) {
        self.0.extend(more);
        loop {
            // A prefix stands before those within it, for its address is not behind theirs and it is shorter.
            self.0.sort_unstable();
            self.0.dedup_by(|later, kept| kept.contains(later.address));
            if self.0.len() <= PREFIXES_LIMIT {
                return;
            }
            // Those of the family that has more, which are at least two, so that one of them is not yet everything.
            let v4 = self.0.iter().filter(|prefix| prefix.address.is_ipv4()).count();
            let is_v4 = v4 * 2 > self.0.len();
            let of_family = |prefix: &&mut Prefix| prefix.address.is_ipv4() == is_v4;
            let longest = self.0.iter_mut().filter(of_family).map(|prefix| prefix.length).max();
            let narrow = self.0.iter_mut().filter(of_family).filter(|it| Some(it.length) == longest);
            narrow.for_each(|prefix| *prefix = prefix.widened());
        }
    }

    /// Returns true if nothing is covered.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The prefixes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Prefix> {
        self.0.iter()
    }

    /// Returns true if an address is covered.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        // None is within another, so only the last one that begins at or before the address can have it.
        let behind = self.0.partition_point(|prefix| prefix.address <= address);
        behind.checked_sub(1).and_then(|place| self.0.get(place)).is_some_and(|it| it.contains(address))
    }

    /// The address, if there is only one.
    #[must_use]
    pub fn sole(&self) -> Option<IpAddr> {
        match &*self.0 {
            [only] if only.free() == 0 => Some(only.address),
            _ => None,
        }
    }
}

impl<T: Into<Prefix>> FromIterator<T> for Prefixes {
    fn from_iter<I: IntoIterator<Item = T>>(prefixes: I) -> Self {
        let mut all = Self::default();
        all.extend(prefixes.into_iter().map(Into::into));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(address: &str, length: u32) -> Prefix {
        Prefix::new(address.parse().unwrap(), length).unwrap()
    }

    #[test]
    fn one_within_another_is_dropped() {
        let all: Prefixes =
            [prefix("10.1.2.3", 32), prefix("10.1.0.0", 16), prefix("10.1.0.0", 24), prefix("fd00::", 8)]
                .into_iter()
                .collect();
        assert_eq!(all.iter().copied().collect::<Vec<_>>(), [prefix("10.1.0.0", 16), prefix("fd00::", 8)]);
        for inside in ["10.1.0.0", "10.1.255.255", "fdff::1"] {
            assert!(all.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["10.0.255.255", "10.2.0.0", "fe00::", "::ffff:10.1.0.1", "::"] {
            assert!(!all.contains(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn however_many_they_are_covered_by_few() {
        let pods = (0..3_000u32).map(|pod| IpAddr::from(Ipv4Addr::from_bits(0x0af4_0000 + pod)));
        let others = (0..300u128).map(|pod| IpAddr::from(Ipv6Addr::from_bits(pod << 64)));
        let all: Prefixes = pods.clone().chain(others.clone()).collect();
        assert!(all.iter().len() <= PREFIXES_LIMIT);
        assert!(pods.chain(others).all(|address| all.contains(address)));
        assert!(!all.contains("10.245.0.0".parse().unwrap()));
        let few: Prefixes = [IpAddr::from([10, 0, 0, 1])].into_iter().collect();
        assert_eq!(few.sole(), Some(IpAddr::from([10, 0, 0, 1])));
        assert_eq!(all.sole(), None);
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        let v4 = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(Prefix::new(v4, 33), Err(PrefixError::Length { length: 33, limit: 32 }));
        assert_eq!(Prefix::new(v4, 24), Err(PrefixError::HostBits { address: v4, length: 24 }));
        assert!(Prefix::new(v4, 32).is_ok() && Prefix::new([0; 4].into(), 0).is_ok());
    }
}
