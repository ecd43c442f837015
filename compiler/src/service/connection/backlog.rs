//! What is on its way out of a connection.
//!
//! HTTP/2 takes whole messages into its buffers and tells nobody when they are out. What is written to the socket does:
//! frames around messages add to it, so it says that a message is out a little too early, and never too late.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Bytes that the socket has taken.
    written: AtomicU64,
    /// What `written` comes to once all messages are out.
    owed: AtomicU64,
    /// Messages that HTTP/2 has not taken, for want of window.
    held: AtomicUsize,
    permits: Mutex<Vec<UnwrittenPermit>>,
}

/// A permit that is given back when so much has been written.
#[derive(Debug)]
struct UnwrittenPermit {
    until: u64,
    since: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Backlog {
    /// A message of so many bytes is on its way; the permit is given back when it has been written.
    pub(super) fn owe(&self, bytes: u64, permit: Option<OwnedSemaphorePermit>) {
        // Under the lock, so that requests of one connection count one after the other.
        let mut permits = self.permits.lock();
        // From what is written where that is more: frames and pings are written that nobody has owed.
        let from = self.owed.load(Ordering::Relaxed).max(self.written.load(Ordering::Relaxed));
        self.owed.store(from + bytes, Ordering::Relaxed);
        let since = Instant::now();
        permits.extend(permit.map(|permit| UnwrittenPermit { until: from + bytes, since, _permit: permit }));
    }

    pub(super) fn hold(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn release(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// Bytes that the socket has taken so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Returns true if a message is not out yet.
    pub(super) fn is_behind(&self) -> bool {
        self.held.load(Ordering::Relaxed) > 0 || self.written() < self.owed.load(Ordering::Relaxed)
    }

    /// Since when the oldest permit has been kept.
    pub(super) fn oldest_permit(&self) -> Option<Instant> {
        self.permits.lock().iter().map(|permit| permit.since).min()
    }

    /// The socket has taken so many bytes more.
    pub(super) fn wrote(&self, bytes: usize) {
        let before = self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        let written = before + bytes as u64;
        // Without a look at the permits where nothing was owed: most of what is written is acks of pings.
        if before < self.owed.load(Ordering::Relaxed) {
            self.permits.lock().retain(|permit| permit.until > written);
        }
    }

    /// The connection has ended: nothing more will be written, and whoever still holds its handle holds no permit.
    pub(super) fn ended(&self) {
        self.permits.lock().clear();
    }
}
