//! What somebody may do at once, and how much in the long run. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// So much at once; what was used comes back at a steady rate.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    /// Comes back in a second.
    rate: u64,
    /// All of it comes back in this time.
    whole: Duration,
    /// When all of it will be there again.
    full: Instant,
}

impl TokenBucket {
    /// `burst` at once, and `rate` a second.
    #[must_use]
    pub fn new(burst: u64, rate: u64, now: Instant) -> Self {
        let rate = rate.max(1);
        Self { rate, whole: time(burst.max(1), rate), full: now }
    }

    /// Checks that there is some of it. What is used then may be more than there is, which takes longer to come back.
    ///
    /// # Errors
    /// When there is none: with a time when there will be.
    pub fn ready(&self, now: Instant) -> Result<(), Instant> {
        match self.full.saturating_duration_since(now).checked_sub(self.whole) {
            // At the very moment when all is in use there is none yet: one unit later there is.
            Some(excess) => Err(now + excess + time(1, self.rate)),
            None => Ok(()),
        }
    }

    /// Uses so much of it.
    pub fn spend(&mut self, cost: u64, now: Instant) {
        self.full = self.full.max(now) + time(cost, self.rate);
    }

    /// Returns true if nothing of it is in use.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full <= now
    }
}

fn time(amount: u64, rate: u64) -> Duration {
    Duration::from_nanos(amount.saturating_mul(1_000_000_000) / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_a_steady_rate() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut it = TokenBucket::new(3, 10, start);
        let mut take = |millis: u64| {
            let ready = it.ready(at(millis));
            if ready.is_ok() {
                it.spend(1, at(millis));
            }
            ready
        };
        assert_eq!([0, 0, 0].map(&mut take), [Ok(()); 3]);
        assert_eq!(take(0), Err(at(100)));
        assert_eq!([100, 100, 150, 201].map(|millis| take(millis).is_ok()), [true, false, true, true]);
        // What is not used does not grow.
        assert_eq!((0..9).filter(|_| take(60_000).is_ok()).count(), 3);
        assert!(!it.is_full(at(60_000)) && it.is_full(at(60_300)));
    }

    #[test]
    fn what_costs_more_than_there_is_takes_its_time_to_come_back() {
        let start = Instant::now();
        let mut it = TokenBucket::new(100, 100, start);
        it.spend(500, start);
        assert!(it.ready(start + Duration::from_secs(3)).is_err());
        assert!(it.ready(start + Duration::from_millis(4001)).is_ok());
    }
}
