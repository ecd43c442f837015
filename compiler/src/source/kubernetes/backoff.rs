//! Pauses after failures: longer each time, and random, so that many clients do not return at once.

use std::time::Duration;

/// Doubles up to a limit; each pause is drawn from the upper half of what it has grown to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(800), Duration::from_secs(30))
    }
}

impl Backoff {
    /// From at most `first` to at most `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = (pause * 2).min(self.longest);
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Starts over after a success.
    pub(super) const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_start_over() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, longest);
        for seconds in [1, 2, 4, 5, 5] {
            let limit = Duration::from_secs(seconds);
            let pause = backoff.pause();
            assert!(limit / 2 <= pause && pause <= limit, "{pause:?} of {limit:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= first);
    }
}
