//! Limits before authentication: so many connections in all whose peer has not shown who it is, so many of one address.
//!
//! Anybody may open connections as fast as the network carries them. Each costs memory until its peer is authenticated, so few
//! are open at once. Whoever comes is let in at once nevertheless, and where there are too many another one is evicted
//! ([`EvictionPool`] says which): who means to authenticate does so within milliseconds, so it is hardly ever the one. To let
//! some wait instead would be to let those who are silent decide for how long. That is why this is no load shedding of
//! tower's, which turns away whoever comes last.
//!
//! Some have reserved places: probes, which come from this machine itself, and agents, whose addresses are known from the
//! time before. That a connection comes from an address of this machine's network namespace nobody else can pretend: kernels
//! drop packets that come from outside with such a source. A kubelet probes a pod of the host's network from the very address
//! that it probes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::eviction::EvictionPool;
use super::known_addresses::KnownAddresses;

/// Connections in all: about 30 kB each, and what it may send ahead. After a restart all agents of a large cluster come at
/// once, and those who are evicted lose the work that was done for them.
const IN_ALL: usize = 8192;

/// Connections of one address: one node, one pod, or an address that a few share.
const OF_ONE: usize = 256;

/// The same where pages are served: a connection for each probe, and for each that scrapes.
const PROBES_IN_ALL: usize = 1024;
/// See [`PROBES_IN_ALL`].
const PROBES_OF_ONE: usize = 64;

/// The part of all places that is reserved: one in so many.
const RESERVED: usize = 4;

/// How many reserved places this machine may have. Its users may be many; probes are few.
pub(super) const OF_THIS_MACHINE: usize = 64;

/// How many of them an address may have that is known: an agent, and its attempts that overlap.
pub(super) const OF_A_KNOWN: usize = 8;

/// Limits before authentication. Clones share them.
#[derive(Debug, Clone)]
pub struct PreAuthLimiter(Arc<LimiterShared>);

#[derive(Debug)]
struct LimiterShared {
    /// Places for whoever comes.
    in_all: usize,
    /// Places beside those that are reserved for addresses which are known.
    reserved: usize,
    of_one: usize,
    /// Connections of any kind that may be open.
    connections: Arc<Semaphore>,
    state: Mutex<LimiterState>,
}

#[derive(Debug, Default)]
struct LimiterState {
    next: u64,
    /// Those of whom one is evicted where there are too many.
    evictable: EvictionPool,
    /// How each of them is told.
    evictions: HashMap<u64, Arc<Eviction>>,
    reserved: ReservedPlaces,
    known: KnownAddresses,
}

/// Reserved places that are taken.
#[derive(Debug, Default)]
struct ReservedPlaces {
    by_address: HashMap<IpAddr, usize>,
    in_all: usize,
}

/// Where a connection has its place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pool {
    /// Among those of whom one is evicted, by a number.
    Evictable(u64),
    /// Among those that places are reserved for.
    Reserved,
}

/// Tells a connection that it has lost its place.
#[derive(Debug, Default)]
pub(super) struct Eviction {
    is_told: AtomicBool,
    told: Notify,
    /// The task that drives the connection.
    driver: AtomicWaker,
}

impl Eviction {
    pub(super) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Acquire)
    }

    /// Waits until it is told; for one at a time.
    pub(super) async fn told(&self) {
        // `notify_one` is kept for a waiter that is not there yet, so nothing is missed between look and wait.
        while !self.is_told() {
            self.told.notified().await;
        }
    }

    /// Has `driver` woken once it is told.
    pub(super) fn wakes(&self, driver: &Waker) {
        self.driver.register(driver);
    }

    fn tell(&self) {
        // First, so that whoever is woken finds it.
        self.is_told.store(true, Ordering::Release);
        // Whoever is at a handshake waits; whoever reads and writes is woken, and looks.
        self.told.notify_one();
        self.driver.wake();
    }
}

/// The place of a connection that was let in.
#[derive(Debug)]
pub(super) struct ConnectionPlace {
    pub(super) pool: Pool,
    pub(super) eviction: Arc<Eviction>,
    pub(super) since: Instant,
    /// What it takes of all connections that may be open.
    pub(super) permit: OwnedSemaphorePermit,
    /// True if another one was evicted for it.
    pub(super) crowded: bool,
}

impl Default for PreAuthLimiter {
    fn default() -> Self {
        Self::new(IN_ALL, OF_ONE)
    }
}

impl PreAuthLimiter {
    /// So many places in all, of which some are reserved, and so many of one address.
    #[must_use]
    pub fn new(in_all: usize, of_one: usize) -> Self {
        Self::with_connections(in_all, of_one, Semaphore::MAX_PERMITS)
    }

    /// The same where no more than so many connections may be open, authenticated or not.
    #[must_use]
    pub fn with_connections(in_all: usize, of_one: usize, connections: usize) -> Self {
        let reserved = in_all / RESERVED;
        Self(Arc::new(LimiterShared {
            in_all: in_all - reserved,
            reserved,
            of_one,
            connections: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            state: Mutex::default(),
        }))
    }

    /// For agents, in a process that may have so many files open: a quarter is for everything else.
    #[must_use]
    pub fn for_agents(files: NonZeroUsize) -> Self {
        let files = files.get();
        // A quarter of all files is left for everything else.
        Self::with_connections(IN_ALL.min(files / 3), OF_ONE, files - files / 4)
    }

    /// For probes and metrics, in such a process. Nobody there is ever known, and no connection lives long.
    #[must_use]
    pub fn for_probes(files: NonZeroUsize) -> Self {
        let in_all = PROBES_IN_ALL.min(files.get() / 16);
        // Those that are evicted may take a moment to go.
        Self::with_connections(in_all, PROBES_OF_ONE, 2 * in_all)
    }

    /// A place for a connection that came from `peer` to `local`, both in canonical form. `None`: those that are authenticated
    /// have taken all room.
    pub(super) fn admit(&self, peer: IpAddr, local: Option<IpAddr>) -> Option<ConnectionPlace> {
        let (shared, since) = (&*self.0, Instant::now());
        let mut state = shared.state.lock();
        // Room first: without it there is nothing to give a place to.
        let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() else {
            // What the evicted one has will be there for the next that comes.
            state.evict_one();
            return None;
        };
        let share = match local {
            Some(local) if local == peer => OF_THIS_MACHINE,
            _ if state.known.holds(peer, since) => OF_A_KNOWN,
            _ => 0,
        };
        let eviction = Arc::<Eviction>::default();
        // A reserved place before one that may be lost; where there is none, a place like everybody's.
        let (pool, crowded) = if state.reserved.take(peer, share.min(shared.of_one), shared.reserved) {
            (Pool::Reserved, false)
        } else {
            // Before it is added itself: whoever comes is never the one that is evicted for it.
            let crowded = if state.evictable.count_of(peer) >= shared.of_one {
                state.evict_one_of(peer)
            } else {
                state.evictable.len() >= shared.in_all && state.evict_one()
            };
            (Pool::Evictable(state.join(peer, since, &eviction)), crowded)
        };
        Some(ConnectionPlace { pool, eviction, since, permit, crowded })
    }

    /// Evicts one, so that what it takes is free; returns true if there is one.
    pub(super) fn evict_one(&self) -> bool {
        self.0.state.lock().evict_one()
    }

    /// How many may be evicted, how many reserved places are taken, and by how many addresses.
    #[cfg(test)]
    pub(super) fn taken(&self) -> (usize, usize, usize) {
        let state = self.0.state.lock();
        (state.evictable.len(), state.reserved.in_all, state.reserved.by_address.len())
    }

    /// The peer of a connection from `address` is authenticated.
    pub(super) fn came(&self, address: IpAddr) {
        self.0.state.lock().known.came(address, Instant::now());
    }

    /// A connection from `address` has ended whose peer was authenticated.
    pub(super) fn went(&self, address: IpAddr) {
        self.0.state.lock().known.went(address, Instant::now());
    }

    /// Takes the place back of a connection from `address`.
    pub(super) fn give_back(&self, address: IpAddr, pool: Pool) {
        let mut state = self.0.state.lock();
        match pool {
            // It is not there any more if it was evicted.
            Pool::Evictable(number) => drop(state.leave(number)),
            Pool::Reserved => state.reserved.give_back(address),
        }
    }
}

impl LimiterState {
    /// Adds one that may be evicted; its number.
    fn join(&mut self, address: IpAddr, since: Instant, eviction: &Arc<Eviction>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.evictable.insert(number, address, since);
        self.evictions.insert(number, Arc::clone(eviction));
        number
    }

    /// Takes one out of those that may be evicted, if it is there.
    fn leave(&mut self, number: u64) -> Option<Arc<Eviction>> {
        self.evictable.remove(number);
        self.evictions.remove(&number)
    }

    fn evict_one_of(&mut self, address: IpAddr) -> bool {
        let victim = self.evictable.any_of(address, &mut rand::rng());
        self.evict(victim)
    }

    fn evict_one(&mut self) -> bool {
        let victim = self.evictable.victim(Instant::now(), &mut rand::rng());
        self.evict(victim)
    }

    fn evict(&mut self, victim: Option<u64>) -> bool {
        // Its place is free at once, although its connection takes a moment to end.
        let Some(eviction) = victim.and_then(|number| self.leave(number)) else { return false };
        eviction.tell();
        true
    }
}

impl ReservedPlaces {
    /// Takes a place, unless `address` has had its share of them or there is none; returns true if it has one.
    fn take(&mut self, address: IpAddr, share: usize, most: usize) -> bool {
        if share == 0 || self.in_all >= most {
            return false;
        }
        let taken = self.by_address.entry(address).or_default();
        let has_place = *taken < share;
        if has_place {
            *taken += 1;
            self.in_all += 1;
        }
        has_place
    }

    fn give_back(&mut self, address: IpAddr) {
        self.in_all -= 1;
        if let Some(taken) = self.by_address.get_mut(&address) {
            *taken -= 1;
            if *taken == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_left_for_everything_else() {
        for files in [256, 1024, 20_000, 1 << 20].map(|files| NonZeroUsize::new(files).unwrap()) {
            let limiters = [PreAuthLimiter::for_agents(files), PreAuthLimiter::for_probes(files)];
            let [agents, probes] = limiters.map(|it| it.0);
            assert!(2 * (agents.in_all + agents.reserved) < agents.connections.available_permits());
            let connections = agents.connections.available_permits() + probes.connections.available_permits();
            assert!(connections <= files.get() - files.get() / 8, "{files}");
        }
    }
}
