//! What the watches have been through, counted for metrics and tests.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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
}

impl Statistics {
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

    /// Whether a watch is open.
    #[must_use]
    pub fn watching(&self) -> bool {
        self.watching.load(Ordering::Relaxed)
    }

    /// How long ago the server last said something about the kind; `None`: it never has.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map(|heard| heard.elapsed())
    }

    pub(super) fn heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn set_watching(&self, watching: bool) {
        self.watching.store(watching, Ordering::Relaxed);
    }
}
