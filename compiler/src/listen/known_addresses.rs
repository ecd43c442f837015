//! Addresses of peers that were authenticated: known while such a connection is open, and for a time after. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// For how long an address is known after the last connection from there has ended.
const KNOWN_FOR: Duration = Duration::from_secs(60 * 60);

/// Addresses that are known, beyond those that have a connection open.
const KNOWN: usize = 16_384;

/// How often old ones are looked for, where there are too many: looking through all for each that comes would be slow.
const SWEEP: Duration = Duration::from_secs(60);

/// The addresses.
#[derive(Debug, Default)]
pub(super) struct KnownAddresses {
    addresses: HashMap<IpAddr, KnownAddress>,
    /// When addresses were forgotten last because there were too many.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct KnownAddress {
    /// Its connections whose peer is authenticated.
    open: usize,
    /// When the last one was authenticated or ended.
    last: Instant,
}

impl KnownAddresses {
    /// Returns true if a peer from there was authenticated lately.
    pub(super) fn holds(&self, address: IpAddr, now: Instant) -> bool {
        self.addresses.get(&address).is_some_and(|known| known.open > 0 || now - known.last < KNOWN_FOR)
    }

    /// The peer of a connection from there is authenticated.
    pub(super) fn came(&mut self, address: IpAddr, now: Instant) {
        let known = self.addresses.entry(address).or_insert(KnownAddress { open: 0, last: now });
        *known = KnownAddress { open: known.open + 1, last: now };
    }

    /// One of those connections has ended.
    pub(super) fn went(&mut self, address: IpAddr, now: Instant) {
        let Some(known) = self.addresses.get_mut(&address) else { return };
        *known = KnownAddress { open: known.open.saturating_sub(1), last: now };
        let is_open = known.open > 0;
        if self.addresses.len() > KNOWN && self.swept.is_none_or(|swept| now - swept >= SWEEP) {
            self.addresses.retain(|_, known| known.open > 0 || now - known.last < KNOWN_FOR);
            self.swept = Some(now);
        }
        // Where all of them are young, this one is forgotten for the others.
        if self.addresses.len() > KNOWN && !is_open {
            self.addresses.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_is_known_while_a_connection_is_open_and_for_a_time() {
        let (mut known, start) = (KnownAddresses::default(), Instant::now());
        let address = Ipv4Addr::LOCALHOST.into();
        known.came(address, start);
        known.came(address, start);
        known.went(address, start);
        assert!(known.holds(address, start + 2 * KNOWN_FOR));
        known.went(address, start + KNOWN_FOR);
        assert!(known.holds(address, start + KNOWN_FOR) && !known.holds(address, start + 2 * KNOWN_FOR));
    }

    #[test]
    fn addresses_are_few() {
        let (mut known, start) = (KnownAddresses::default(), Instant::now());
        let visit = |known: &mut KnownAddresses, number, now| {
            let address = Ipv4Addr::from_bits(number).into();
            known.came(address, now);
            known.went(address, now);
        };
        let most = u32::try_from(KNOWN).unwrap();
        for number in 0..2 * most {
            visit(&mut known, number, start);
        }
        assert_eq!(known.addresses.len(), KNOWN);
        visit(&mut known, 3 * most, start + KNOWN_FOR);
        assert_eq!(known.addresses.len(), 1, "the others are forgotten for it");
    }
}
