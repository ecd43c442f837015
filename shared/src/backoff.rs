//! Exponential backoff with jitter, so that many clients of one server do not come back all at once.

use std::time::Duration;

use rand::Rng;

/// Delays that double from a first one up to a limit; each is shortened by up to a half at random.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    /// Delays from `first` up to `limit`, before jitter.
    #[must_use]
    pub const fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, next: first }
    }

    /// The delay before the next attempt, with the thread's own randomness.
    pub fn pause(&mut self) -> Duration {
        self.delay(&mut rand::rng())
    }

    /// The delay before the next attempt.
    pub fn delay(&mut self, random: &mut impl Rng) -> Duration {
        let ceiling = self.next;
        self.next = ceiling.saturating_mul(2).min(self.limit);
        ceiling.mul_f64(random.random_range(0.5..=1.0))
    }

    /// Starts over, and the delay before the attempt that comes first after something that had gone well: next to none, but
    /// not the same for all who were cut off at once.
    pub fn soon(&mut self) -> Duration {
        self.reset();
        self.first.mul_f64(rand::rng().random_range(0.0..=0.5))
    }

    /// Starts over: an attempt succeeded.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn doubles_to_the_limit_and_starts_over() {
        let mut random = SmallRng::seed_from_u64(1);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        for ceiling in [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000] {
            let delay = backoff.delay(&mut random).as_millis();
            assert!((ceiling / 2..=ceiling).contains(&delay), "{delay} of {ceiling}");
        }
        backoff.reset();
        assert!(backoff.delay(&mut random) <= Duration::from_millis(200));
    }

    #[test]
    fn what_had_gone_well_is_tried_again_soon() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        for _ in 0..5 {
            backoff.pause();
        }
        assert!(backoff.soon() <= Duration::from_millis(100));
        assert!(backoff.pause() <= Duration::from_millis(200), "and then as from the beginning");
    }

    #[test]
    fn two_agents_differ() {
        let delay = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
            backoff.delay(&mut SmallRng::seed_from_u64(seed))
        };
        assert_ne!(delay(1), delay(2));
    }
}
