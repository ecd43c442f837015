//! Connections whose peer has not shown yet who it is: so many in all, so many of one address.
//!
//! A stranger may open connections as fast as the network carries them. Each costs memory until it is known for what it
//! is, so few are let in at once. Beyond the limit of its address one of them, at random, has to go: an agent shows who
//! it is within milliseconds, so it is hardly ever the one, whoever else has its address and however many they are. Beyond the
//! limit of all a connection waits in the kernel.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::Rng as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Strangers' connections in all: about 30 kB each, and what it may send ahead. After a restart all agents of a large cluster come at once.
const IN_ALL: usize = 4096;

/// Strangers' connections of one address: one node, one pod, or an address that a few share.
const OF_ONE: usize = 256;

/// Counts the strangers.
#[derive(Debug, Clone)]
pub struct Doorway(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    room: Arc<Semaphore>,
    of_one: usize,
    by_address: Mutex<HashMap<IpAddr, Vec<Arc<Place>>>>,
}

/// A stranger's place among those of its address.
#[derive(Debug, Default)]
struct Place {
    lost: AtomicBool,
    told: Notify,
}

impl Default for Doorway {
    fn default() -> Self {
        Self::new(IN_ALL, OF_ONE)
    }
}

impl Doorway {
    /// Room for so many strangers in all, and of one address.
    #[must_use]
    pub fn new(in_all: usize, of_one: usize) -> Self {
        let (room, by_address) = (Arc::new(Semaphore::new(in_all)), Mutex::default());
        Self(Arc::new(Shared { room, of_one, by_address }))
    }

    /// Waits until there is room for another stranger.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.0.room).acquire_owned().await.ok()
    }

    /// Lets a stranger in; whether another of its address has lost its place to it.
    pub(super) fn enter(&self, address: IpAddr, room: Option<OwnedSemaphorePermit>) -> (Stranger, bool) {
        let (address, place) = (neighbourhood(address), Arc::<Place>::default());
        let mut by_address = self.0.by_address();
        let places = by_address.entry(address).or_default();
        let crowded = places.len() >= self.0.of_one;
        if crowded {
            let loser = places.swap_remove(rand::rng().random_range(0..places.len()));
            loser.lost.store(true, Ordering::Relaxed);
            loser.told.notify_one();
        }
        places.push(Arc::clone(&place));
        drop(by_address);
        (Stranger { doorway: self.clone(), address, place, since: Instant::now(), _room: room }, crowded)
    }
}

impl Shared {
    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, Vec<Arc<Place>>>> {
        // Nothing panics while it is held.
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection whose peer is not known. Dropped when it is, or when the connection ends.
#[derive(Debug)]
pub struct Stranger {
    doorway: Doorway,
    address: IpAddr,
    place: Arc<Place>,
    since: Instant,
    _room: Option<OwnedSemaphorePermit>,
}

impl Stranger {
    /// When it came.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// Whether it has lost its place: its connection is to end.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.place.lost.load(Ordering::Relaxed)
    }

    /// Waits until it has lost its place. For one who waits.
    pub async fn evicted(&self) {
        while !self.is_evicted() {
            self.place.told.notified().await;
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut by_address = self.doorway.0.by_address();
        if let Some(places) = by_address.get_mut(&self.address) {
            places.retain(|place| !Arc::ptr_eq(place, &self.place));
            if places.is_empty() {
                by_address.remove(&self.address);
            }
        }
    }
}

/// What one host has many of counts as one: a /64.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn strangers_are_few_by_address_and_in_all() {
        let doorway = Doorway::new(4, 2);
        let enter = async |address: &str| doorway.enter(address.parse().unwrap(), doorway.room().await);
        let (first, crowded) = enter("10.0.0.1").await;
        let (second, also) = enter("::ffff:10.0.0.1").await;
        assert!(!crowded && !also);
        let (other, crowded) = enter("10.0.0.2").await;
        assert!(!crowded, "another address has places of its own");
        let (third, crowded) = enter("10.0.0.1").await;
        assert!(crowded && !third.is_evicted(), "two of it are there");
        assert_eq!([&first, &second].iter().filter(|it| it.is_evicted()).count(), 1);
        assert_eq!(doorway.0.room.available_permits(), 0, "the fifth would wait");
        let loser = if first.is_evicted() { &first } else { &second };
        tokio::time::timeout(std::time::Duration::from_secs(60), loser.evicted()).await.unwrap();
        drop((first, second, third, other));
        assert!(doorway.0.by_address().is_empty());
        assert_eq!(doorway.0.room.available_permits(), 4);
    }

    #[test]
    fn a_host_has_a_network_of_addresses() {
        let of = |address: &str| neighbourhood(address.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }
}
