//! One clock for two processes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the epoch: what both processes of the bench can compare.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
