//! A table that something else has changed: how often that was found, and when it is put right.
//!
//! At once, if it has been quiet before. What keeps changing the table is not answered blow by blow: a repair takes as
//! long as a full script, and two agents on one node would otherwise spend it on each other.

use std::time::Duration;

use flock_shared::backoff::Backoff;
use tokio::time::Instant;

use crate::ledger::Sight;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(20);
/// Before something is repaired that may be whole.
const DOUBT: Duration = Duration::from_secs(5);
/// After so long without a repair, the next one is at once.
const QUIET: Duration = Duration::from_secs(60);

/// What is known of changes by others.
#[derive(Debug)]
pub struct Drift {
    /// How often the table was found changed.
    found: u32,
    /// Whether it may have been changed without being found.
    is_in_doubt: bool,
    /// Whether it is known to be changed.
    is_changed: bool,
    due: Option<Instant>,
    pace: Backoff,
    last_repair: Option<Instant>,
}

impl Default for Drift {
    fn default() -> Self {
        let pace = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
        Self { found: 0, is_in_doubt: false, is_changed: false, due: None, pace, last_repair: None }
    }
}

impl Drift {
    /// Takes down what was seen; whether that is a change which was not known.
    pub fn saw(&mut self, sight: Sight, now: Instant) -> bool {
        let (is_news, at) = match sight {
            Sight::Edited => (self.changed(), self.next(now)),
            Sight::Unknown => {
                self.is_in_doubt = true;
                (false, self.next(now).max(now + DOUBT))
            }
            Sight::Undisturbed | Sight::Blind => return false,
        };
        // What is due is not put off by what comes after it.
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
        is_news
    }

    /// The table is found changed, in whatever way; whether that was not known.
    pub const fn changed(&mut self) -> bool {
        let is_news = !self.is_changed;
        if is_news {
            self.is_changed = true;
            self.found = self.found.saturating_add(1);
        }
        is_news
    }

    /// A repair begins.
    pub const fn repairing(&mut self, now: Instant) {
        self.last_repair = Some(now);
        self.due = None;
    }

    /// The whole table was put in place, by a repair or anew.
    pub const fn replaced(&mut self) {
        self.is_in_doubt = false;
        self.is_changed = false;
        self.due = None;
    }

    /// When the table is to be put right.
    #[must_use]
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether it is not known if the table is as it should be.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// How often the table was found changed.
    #[must_use]
    pub const fn found(&self) -> u32 {
        self.found
    }

    /// When the next repair may be.
    fn next(&mut self, now: Instant) -> Instant {
        match (self.last_repair, self.due) {
            (Some(last), due) if now.saturating_duration_since(last) < QUIET => {
                due.unwrap_or_else(|| now + self.pace.pause())
            }
            _ => {
                self.pace.reset();
                now
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Found and repaired at `now`.
    fn repaired(now: Instant) -> Drift {
        let mut drift = Drift::default();
        assert!(drift.saw(Sight::Edited, now));
        assert_eq!(drift.due(), Some(now), "at once");
        drift.repairing(now);
        drift.replaced();
        drift
    }

    #[test]
    fn a_change_counts_once_until_it_is_put_right() {
        let now = Instant::now();
        let mut drift = Drift::default();
        assert!(drift.saw(Sight::Edited, now) && !drift.saw(Sight::Edited, now) && !drift.changed());
        drift.repairing(now);
        drift.replaced();
        assert!(drift.changed());
        assert_eq!(drift.found(), 2);
    }

    #[test]
    fn nothing_seen_is_nothing_due() {
        let mut drift = Drift::default();
        assert!(!drift.saw(Sight::Undisturbed, Instant::now()));
        assert_eq!((drift.due(), drift.found()), (None, 0));
    }

    #[test]
    fn what_keeps_changing_it_is_answered_ever_more_slowly_and_within_bounds() {
        let mut now = Instant::now();
        let mut drift = repaired(now);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            drift.saw(Sight::Edited, now);
            let due = drift.due().unwrap();
            drift.saw(Sight::Edited, now + SECOND / 10);
            assert_eq!(drift.due(), Some(due), "not put off");
            pauses.push(due - now);
            now = due;
            drift.repairing(now);
            drift.replaced();
        }
        assert!(pauses[0] <= SECOND && pauses[9] >= 10 * SECOND, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LAST_PAUSE));
        now += QUIET;
        drift.saw(Sight::Edited, now);
        assert_eq!(drift.due(), Some(now), "after a quiet while, at once");
    }

    #[test]
    fn doubt_waits_a_little_and_is_no_finding() {
        let now = Instant::now();
        let mut drift = Drift::default();
        assert!(!drift.saw(Sight::Unknown, now));
        assert_eq!((drift.due(), drift.found(), drift.is_in_doubt()), (Some(now + DOUBT), 0, true));
        assert!(drift.saw(Sight::Edited, now + SECOND));
        assert_eq!(drift.due(), Some(now + SECOND), "certainty does not wait");
        drift.repairing(now + SECOND);
        assert!(drift.is_in_doubt(), "until it is done");
        drift.replaced();
        assert_eq!((drift.due(), drift.is_in_doubt()), (None, false));
    }
}
