//! What the watches have been through, counted for metrics and tests.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The counters of all kinds.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Nodes.
    pub nodes: KindStatistics,
    /// Namespaces.
    pub namespaces: KindStatistics,
    /// Pods.
    pub pods: KindStatistics,
    /// Network policies.
    pub policies: KindStatistics,
    /// What CNI did on nodes.
    pub node_pods: KindStatistics,
    is_alone: AtomicBool,
}

impl Statistics {
    /// Returns true if this process alone fails to see an API server that answers others.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.is_alone.load(Ordering::Relaxed)
    }

    /// Returns true if it has changed with that.
    pub(super) fn set_alone(&self, is_alone: bool) -> bool {
        self.is_alone.swap(is_alone, Ordering::Relaxed) != is_alone
    }

    /// Of each kind that every cluster has: if it was last heard of longer ago than this, and that may be this process's
    /// fault, how often it has failed so far.
    pub(super) fn blind(&self, longest: Duration) -> [Option<u64>; 4] {
        // Kinds that every cluster has. There may be no NodePods.
        [&self.nodes, &self.namespaces, &self.pods, &self.policies].map(|kind| {
            let may_be_own = kind.may_be_own.load(Ordering::Relaxed);
            (may_be_own && kind.age().is_some_and(|age| age > longest)).then(|| kind.failures())
        })
    }

    /// The counters with the names of their kinds.
    #[must_use]
    pub const fn kinds(&self) -> [(&'static str, &KindStatistics); 5] {
        [
            ("Node", &self.nodes),
            ("Namespace", &self.namespaces),
            ("Pod", &self.pods),
            ("NetworkPolicy", &self.policies),
            ("NodePods", &self.node_pods),
        ]
    }
}

/// The counters of one kind.
#[derive(Debug, Default)]
pub struct KindStatistics {
    listings: AtomicU64,
    watches: AtomicU64,
    events: AtomicU64,
    failures: AtomicU64,
    expirations: AtomicU64,
    watching: AtomicBool,
    /// True if the last failure may be this process's alone; false if something was heard since.
    may_be_own: AtomicBool,
    heard: Mutex<Option<Instant>>,
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident, $count:ident) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(&self) -> u64 {
            self.$name.load(Ordering::Relaxed)
        }

        pub(super) fn $count(&self) {
            self.$name.fetch_add(1, Ordering::Relaxed);
        }
    };
}

impl KindStatistics {
    counter!(
        /// Listings that were read completely.
        listings, count_listing
    );
    counter!(
        /// Watches that the server accepted.
        watches, count_watch
    );
    counter!(
        /// Events of objects; bookmarks are none.
        events, count_event
    );
    counter!(
        /// Requests and streams that failed; expirations are no failures.
        failures, count_failure
    );
    counter!(
        /// How often the server did not remember where to resume.
        expirations, count_expiration
    );

    /// Returns true if a watch is open.
    #[must_use]
    pub fn watching(&self) -> bool {
        self.watching.load(Ordering::Relaxed)
    }

    /// How long ago the server last said something about the kind; `None`: it never has.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let heard = *self.heard.lock();
        heard.map(|heard| heard.elapsed())
    }

    pub(super) fn failed(&self, may_be_own: bool) {
        self.count_failure();
        self.may_be_own.store(may_be_own, Ordering::Relaxed);
    }

    pub(crate) fn heard(&self) {
        self.may_be_own.store(false, Ordering::Relaxed);
        *self.heard.lock() = Some(Instant::now());
    }

    pub(super) fn set_watching(&self, watching: bool) {
        self.watching.store(watching, Ordering::Relaxed);
    }
}
