//! A table that something else has changed: how often that was found, and when it is put right.
//!
//! A table that is gone lets everything pass, so it is brought back at once, however often. One that was edited is put
//! right at once as well, but what keeps editing is not answered blow by blow: a repair takes as long as a full script, and
//! two agents on one node would otherwise spend it on each other.

use std::time::Duration;

use flock_shared::backoff::Backoff;
use tokio::time::Instant;

use crate::generations::Observation;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(20);
/// Before something is repaired that may be whole.
const DOUBT: Duration = Duration::from_secs(5);
/// After so long without a repair, edits are answered at once again.
const QUIET: Duration = Duration::from_secs(60);
/// So many edits are answered at once before there are pauses.
const AT_ONCE: u32 = 5;

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
    /// Edits that were answered at once since it was quiet.
    answered: u32,
    last_repair: Option<Instant>,
}

impl Default for Drift {
    fn default() -> Self {
        let pace = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
        Self {
            found: 0,
            is_in_doubt: false,
            is_changed: false,
            due: None,
            pace,
            answered: 0,
            last_repair: None,
        }
    }
}

impl Drift {
    /// Takes down what was seen. Returns true if that is a change which was not known.
    pub fn saw(&mut self, observation: Observation, now: Instant) -> bool {
        let (is_news, at) = match observation {
            // At once, however often: without a table everything passes.
            Observation::Gone => (self.changed(), now),
            Observation::Edited => {
                let is_news = self.changed();
                // Further edits of what is about to be put right are put right with it.
                (is_news, self.due.filter(|_| !is_news).unwrap_or_else(|| self.next(now)))
            }
            Observation::Unknown => {
                self.is_in_doubt = true;
                (false, self.due.unwrap_or_else(|| self.next(now).max(now + DOUBT)))
            }
            Observation::Undisturbed | Observation::Blind => return false,
        };
        // What is due is not put off by what comes after it.
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
        is_news
    }

    /// Takes down that the table was found changed, in whatever way. Returns true if that was not known.
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

    /// Returns true if it is not known whether the table is as it should be.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// How often the table was found changed.
    #[must_use]
    pub const fn found(&self) -> u32 {
        self.found
    }

    /// When the next repair of an edited table may be.
    fn next(&mut self, now: Instant) -> Instant {
        let was_quiet = self.last_repair.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        if was_quiet {
            self.pace.reset();
            self.answered = 0;
        }
        if self.answered < AT_ONCE {
            self.answered += 1;
            return now;
        }
        now + self.pace.pause()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Found and repaired at `now`.
    fn repaired(now: Instant) -> Drift {
        let mut drift = Drift::default();
        assert!(drift.saw(Observation::Edited, now));
        assert_eq!(drift.due(), Some(now), "at once");
        drift.repairing(now);
        drift.replaced();
        drift
    }

    #[test]
    fn a_change_counts_once_until_it_is_put_right() {
        let now = Instant::now();
        let mut drift = Drift::default();
        assert!(
            drift.saw(Observation::Edited, now) && !drift.saw(Observation::Edited, now) && !drift.changed()
        );
        drift.repairing(now);
        drift.replaced();
        assert!(drift.changed());
        assert_eq!(drift.found(), 2);
    }

    #[test]
    fn nothing_seen_is_nothing_due() {
        let mut drift = Drift::default();
        assert!(!drift.saw(Observation::Undisturbed, Instant::now()));
        assert_eq!((drift.due(), drift.found()), (None, 0));
    }

    #[test]
    fn what_keeps_changing_it_is_answered_ever_more_slowly_and_within_bounds() {
        let mut now = Instant::now();
        let mut drift = repaired(now);
        for _ in 1..AT_ONCE {
            drift.saw(Observation::Edited, now);
            assert_eq!(drift.due(), Some(now), "at once at first");
            drift.repairing(now);
            drift.replaced();
        }
        let mut pauses = Vec::new();
        for _ in 0..10 {
            drift.saw(Observation::Edited, now);
            let due = drift.due().unwrap();
            drift.saw(Observation::Edited, now + SECOND / 10);
            assert_eq!(drift.due(), Some(due), "not put off");
            pauses.push(due - now);
            now = due;
            drift.repairing(now);
            drift.replaced();
        }
        assert!(pauses[0] <= SECOND && pauses[9] >= 10 * SECOND, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LAST_PAUSE));
        now += QUIET;
        drift.saw(Observation::Edited, now);
        assert_eq!(drift.due(), Some(now), "after a quiet while, at once");
    }

    #[test]
    fn a_table_that_is_gone_is_brought_back_at_once_however_often() {
        let mut now = Instant::now();
        let mut drift = repaired(now);
        for _ in 0..3 * AT_ONCE {
            drift.saw(Observation::Edited, now);
            drift.saw(Observation::Gone, now);
            assert_eq!(drift.due(), Some(now));
            drift.repairing(now);
            drift.replaced();
            now += 3 * SECOND;
        }
    }

    #[test]
    fn doubt_waits_a_little_and_is_no_finding() {
        let now = Instant::now();
        let mut drift = Drift::default();
        assert!(!drift.saw(Observation::Unknown, now));
        assert_eq!((drift.due(), drift.found(), drift.is_in_doubt()), (Some(now + DOUBT), 0, true));
        assert!(drift.saw(Observation::Edited, now + SECOND));
        assert_eq!(drift.due(), Some(now + SECOND), "certainty does not wait");
        drift.repairing(now + SECOND);
        assert!(drift.is_in_doubt(), "until it is done");
        drift.replaced();
        assert_eq!((drift.due(), drift.is_in_doubt()), (None, false));
    }
}
