//! How many calls came to nothing, and when the log says so: it is no longer for a thousand of them than for one. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Between two lines of the log about failures of one kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// Why a call came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The compiler said that it cannot be.
    Refused,
    /// It was not done in time, or nobody was there to do it.
    Failed,
    /// What came was no call, or came from a stranger.
    Improper,
    /// The compiler has no place for such calls, which stays so for long.
    Unsupported,
}

/// Counts since the agent's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailureCounts {
    /// Of [`FailureKind::Refused`].
    pub refused: u64,
    /// Of [`FailureKind::Failed`].
    pub failed: u64,
    /// Of [`FailureKind::Improper`].
    pub improper: u64,
    /// Of [`FailureKind::Unsupported`].
    pub unsupported: u64,
    /// For each kind but the last, when the log has told of it last.
    told: [Option<Instant>; 3],
    /// Whether the log has told of the last kind.
    is_unsupported: bool,
}

impl FailureCounts {
    /// Counts one. Returns true if the log is to tell of it.
    pub fn count(&mut self, kind: FailureKind, now: Instant) -> bool {
        let [refused, failed, improper] = &mut self.told;
        let (counter, told) = match kind {
            FailureKind::Refused => (&mut self.refused, refused),
            FailureKind::Failed => (&mut self.failed, failed),
            FailureKind::Improper => (&mut self.improper, improper),
            FailureKind::Unsupported => {
                self.unsupported += 1;
                return !std::mem::replace(&mut self.is_unsupported, true);
            }
        };
        *counter += 1;
        let is_due = told.is_none_or(|told| now.saturating_duration_since(told) >= INTERVAL);
        if is_due {
            *told = Some(now);
        }
        is_due
    }

    /// A call came to something: should a compiler have no place for such calls after that, it is another one.
    pub const fn supported(&mut self) {
        self.is_unsupported = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_of_once_in_a_while_and_always_counted() {
        let (mut failures, start) = (FailureCounts::default(), Instant::now());
        assert!(failures.count(FailureKind::Refused, start) && failures.count(FailureKind::Failed, start));
        for second in 1..10 {
            assert!(!failures.count(FailureKind::Refused, start + Duration::from_secs(second)), "{second} s");
        }
        assert!(failures.count(FailureKind::Refused, start + INTERVAL));
        assert!(failures.count(FailureKind::Improper, start));
        assert_eq!((failures.refused, failures.failed, failures.improper), (11, 1, 1));
    }

    #[test]
    fn what_stays_so_for_long_is_told_of_once() {
        let (mut failures, start) = (FailureCounts::default(), Instant::now());
        assert!(failures.count(FailureKind::Unsupported, start));
        assert!(!failures.count(FailureKind::Unsupported, start + 100 * INTERVAL));
        failures.supported();
        assert!(failures.count(FailureKind::Unsupported, start + 100 * INTERVAL));
        assert_eq!(failures.unsupported, 3);
    }
}
