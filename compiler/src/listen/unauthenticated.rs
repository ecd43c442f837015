//! A connection before its peer is authenticated, and after: each gives back what it has of the limiter when it is dropped.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::pre_auth::{ConnectionPlace, Eviction, Pool, PreAuthLimiter};

/// Room for one connection; given back when it is dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
}

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) unauthenticated: Unauthenticated,
    pub(super) permit: ConnectionPermit,
    /// True if another one was evicted for it.
    pub(super) crowded: bool,
}

impl Admitted {
    /// Lets a connection in that came from `peer` to `local`, unless those that are authenticated have taken all room.
    pub(super) fn new(limiter: &PreAuthLimiter, peer: IpAddr, local: Option<IpAddr>) -> Option<Self> {
        // An IPv4 address is one address, however the socket writes it.
        let (peer, local) = (peer.to_canonical(), local.map(|local| local.to_canonical()));
        let ConnectionPlace { pool, eviction, since, permit, crowded } = limiter.admit(peer, local)?;
        let unauthenticated = Unauthenticated { limiter: limiter.clone(), peer, pool, eviction, since };
        Some(Self { unauthenticated, permit: ConnectionPermit { _permit: permit }, crowded })
    }
}

/// A connection whose peer is not authenticated, for as long as that is so.
#[derive(Debug)]
pub struct Unauthenticated {
    limiter: PreAuthLimiter,
    peer: IpAddr,
    pool: Pool,
    eviction: Arc<Eviction>,
    since: Instant,
}

impl Unauthenticated {
    /// When it came.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// Returns true if it has lost its place: its connection is to end.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.eviction.is_told()
    }

    /// Waits until it has lost its place; for one at a time.
    pub async fn evicted(&self) {
        self.eviction.told().await;
    }

    /// Has `driver` woken once it has lost its place; for one who asks [`Self::is_evicted`] then.
    pub fn wakes(&self, driver: &Waker) {
        self.eviction.wakes(driver);
    }

    /// Its peer has shown who it is.
    #[must_use]
    pub fn authenticated(self) -> Authenticated {
        let (limiter, address) = (self.limiter.clone(), self.peer);
        // Known before its place is given back, which happens when this is dropped.
        limiter.came(address);
        Authenticated { limiter, address }
    }
}

impl Drop for Unauthenticated {
    fn drop(&mut self) {
        self.limiter.give_back(self.peer, self.pool);
    }
}

/// A connection whose peer is authenticated: while it is there and for some time after that, its address is known.
#[derive(Debug)]
pub struct Authenticated {
    limiter: PreAuthLimiter,
    address: IpAddr,
}

impl Drop for Authenticated {
    fn drop(&mut self) {
        self.limiter.went(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::super::pre_auth::{OF_A_KNOWN, OF_THIS_MACHINE};
    use super::*;

    const HERE: &str = "10.9.9.9";

    fn admit(limiter: &PreAuthLimiter, from: &str) -> Admitted {
        Admitted::new(limiter, from.parse().unwrap(), Some(HERE.parse().unwrap())).unwrap()
    }

    fn evicted(admitted: &[Admitted]) -> usize {
        admitted.iter().filter(|admitted| admitted.unauthenticated.is_evicted()).count()
    }

    #[tokio::test]
    async fn connections_are_few_by_address_and_in_all_and_whoever_comes_is_let_in() {
        // Nine, and three that are reserved.
        let limiter = PreAuthLimiter::new(12, 3);
        let first = ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"].map(|from| admit(&limiter, from));
        assert!(first.iter().all(|admitted| !admitted.crowded));
        let fourth = admit(&limiter, "10.0.0.1");
        assert!(fourth.crowded, "three of it are there");
        assert_eq!((evicted(&first), fourth.unauthenticated.is_evicted()), (1, false));
        let victim = first.iter().find(|admitted| admitted.unauthenticated.is_evicted()).unwrap();
        let told = victim.unauthenticated.evicted();
        tokio::time::timeout(std::time::Duration::from_secs(60), told).await.unwrap();
        let others: Vec<_> = (2..8).map(|last| admit(&limiter, &format!("10.0.0.{last}"))).collect();
        assert!(others.iter().all(|admitted| !admitted.crowded), "others have places of their own");
        let tenth = admit(&limiter, "10.1.0.1");
        assert!(tenth.crowded);
        let all = [evicted(&first), evicted(&[fourth]), evicted(&others)];
        assert_eq!((all.iter().sum::<usize>(), tenth.unauthenticated.is_evicted()), (2, false));
        drop((first, others, tenth));
        assert_eq!(limiter.taken().0, 0);
    }

    #[tokio::test]
    async fn places_are_reserved_for_this_machine_and_for_addresses_that_are_known() {
        let limiter = PreAuthLimiter::new(16, 256);
        let known = admit(&limiter, "10.0.0.1").unauthenticated.authenticated();
        let reserved: Vec<_> = ["10.0.0.1", HERE, HERE, "10.0.0.1"].map(|from| admit(&limiter, from)).into();
        // Many of many addresses, so that nobody is crowded out for having more.
        let _flood: Vec<_> = (0..1000)
            .map(|number| admit(&limiter, &format!("10.{}.{}.1", 1 + number / 250, number % 250)))
            .collect();
        assert_eq!(evicted(&reserved), 0);
        let fifth = admit(&limiter, HERE);
        assert!(fifth.crowded, "all that is reserved is taken, so it is one like the others");
        drop(reserved);
        drop(known);
        assert!(!admit(&limiter, "10.0.0.1").crowded, "it is known for some time");
        assert!(admit(&limiter, "10.0.0.2").crowded, "another address is not");
        let (_, reserved, addresses) = limiter.taken();
        assert_eq!((reserved, addresses), (0, 0), "all are given back");
    }

    #[tokio::test]
    async fn an_address_has_its_share_of_what_is_reserved_and_no_more() {
        let limiter = PreAuthLimiter::new(4096, 256);
        let _known = admit(&limiter, "10.0.0.1").unauthenticated.authenticated();
        let _admitted: Vec<_> = ["10.0.0.1", HERE]
            .into_iter()
            .flat_map(|from| (0..200).map(|_| admit(&limiter, from)).collect::<Vec<_>>())
            .collect();
        assert_eq!(limiter.taken().1, OF_A_KNOWN + OF_THIS_MACHINE);
    }

    #[tokio::test]
    async fn where_there_is_no_room_one_is_evicted_for_the_next() {
        let limiter = PreAuthLimiter::with_connections(100, 100, 2);
        let (first, second) = (admit(&limiter, "10.0.0.1"), admit(&limiter, "10.0.0.2"));
        let third = || Admitted::new(&limiter, "10.0.0.3".parse().unwrap(), None);
        assert!(third().is_none());
        assert!(first.unauthenticated.is_evicted() || second.unauthenticated.is_evicted());
        drop((first, second));
        assert!(third().is_some());
    }
}
