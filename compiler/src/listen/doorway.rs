//! Connections whose peer has not shown yet who it is: so many in all, so many of one address.
//!
//! A stranger may open connections as fast as the network carries them. Each costs memory until it is known for what it
//! is, so few are let in at once: beyond the limit of its address a connection is closed, beyond the limit of all it
//! waits in the kernel.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Strangers' connections in all, about 30 kB each. After a restart all agents of a large cluster come at once.
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
    by_address: Mutex<HashMap<IpAddr, usize>>,
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

    /// Lets a stranger in, unless there are too many of its address.
    pub(super) fn enter(&self, address: IpAddr, room: Option<OwnedSemaphorePermit>) -> Option<Stranger> {
        let address = neighbourhood(address);
        let mut by_address = self.0.by_address();
        let count = by_address.entry(address).or_default();
        if *count >= self.0.of_one {
            return None;
        }
        *count += 1;
        Some(Stranger { doorway: self.clone(), address, _room: room })
    }
}

impl Shared {
    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Nothing panics while it is held.
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection whose peer is not known. Dropped when it is, or when the connection ends.
#[derive(Debug)]
pub struct Stranger {
    doorway: Doorway,
    address: IpAddr,
    _room: Option<OwnedSemaphorePermit>,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut by_address = self.doorway.0.by_address();
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
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
        let doorway = Doorway::new(3, 2);
        let enter = async |address: &str| doorway.enter(address.parse().unwrap(), doorway.room().await);
        let (first, second) = (enter("10.0.0.1").await, enter("::ffff:10.0.0.1").await);
        assert!(first.is_some() && second.is_some());
        assert!(enter("10.0.0.1").await.is_none(), "two of it are there");
        let other = enter("10.0.0.2").await;
        assert!(other.is_some());
        assert_eq!(doorway.0.room.available_permits(), 0, "the fourth would wait");
        drop(first);
        assert!(enter("10.0.0.1").await.is_some(), "one of it has left");
        drop((second, other));
        assert!(doorway.0.by_address().is_empty());
    }

    #[test]
    fn a_host_has_a_network_of_addresses() {
        let of = |address: &str| neighbourhood(address.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }
}
