//! Waiting for a condition instead of for time to pass.

use std::thread;
use std::time::{Duration, Instant};

use flock_lab::patient;

/// The longest that anything may take before a test gives up: far beyond what a slow machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PERIOD: Duration = Duration::from_millis(20);

/// Looks until there is something to see, and gives it. `what` completes "waited in vain for".
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, look)
}

/// As [`wait_for`], for what is to be prompt.
pub(crate) fn wait_within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < patient(limit), "waited in vain for {what}");
        thread::sleep(PERIOD);
    }
}

/// Looks until `holds`.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}
