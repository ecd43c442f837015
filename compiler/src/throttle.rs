//! How much is logged of what strangers can make happen as often as they like.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lets so many through in each span of time.
#[derive(Debug)]
pub(crate) struct Throttle {
    most: u32,
    span: Duration,
    now: Mutex<Option<Span>>,
}

#[derive(Debug)]
struct Span {
    since: Instant,
    seen: u32,
}

impl Throttle {
    /// Lets `most` through in each `span`.
    pub(crate) const fn new(most: u32, span: Duration) -> Self {
        Self { most, span, now: Mutex::new(None) }
    }

    /// Whether this one goes through, and then how many did not since the one before it.
    pub(crate) fn pass(&self) -> Option<u32> {
        // Nothing panics while it is held.
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let current = now.as_mut().filter(|span| span.since.elapsed() < self.span);
        if let Some(span) = current {
            span.seen = span.seen.saturating_add(1);
            return (span.seen <= self.most).then_some(0);
        }
        let kept_back = now.as_ref().map_or(0, |span| span.seen.saturating_sub(self.most));
        *now = Some(Span { since: Instant::now(), seen: 1 });
        Some(kept_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted_and_not_told() {
        let throttle = Throttle::new(2, Duration::from_secs(1));
        let passed: Vec<_> = (0..5).map(|_| throttle.pass()).collect();
        assert_eq!(passed, [Some(0), Some(0), None, None, None]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((throttle.pass(), throttle.pass(), throttle.pass()), (Some(3), Some(0), None));
    }
}
