//! How much is logged of what strangers can make happen as often as they like.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Lets so many of each kind through in each span of time: a flood of one hides none of another.
#[derive(Debug)]
pub(crate) struct Throttle {
    most: u32,
    span: Duration,
    now: Mutex<BTreeMap<&'static str, Span>>,
}

#[derive(Debug)]
struct Span {
    since: Instant,
    seen: u32,
}

impl Throttle {
    /// Lets `most` of a kind through in each `span`.
    pub(crate) const fn new(most: u32, span: Duration) -> Self {
        Self { most, span, now: Mutex::new(BTreeMap::new()) }
    }

    /// How many of its kind were kept back since the last one, if this one goes through; `None`: it does not.
    pub(crate) fn pass(&self, kind: &'static str) -> Option<u32> {
        let mut now = self.now.lock();
        let fresh = Span { since: Instant::now(), seen: 0 };
        let span = now.entry(kind).or_insert(fresh);
        let mut kept_back = 0;
        if span.since.elapsed() >= self.span {
            kept_back = span.seen.saturating_sub(self.most);
            *span = Span { since: Instant::now(), seen: 0 };
        }
        span.seen = span.seen.saturating_add(1);
        (span.seen <= self.most).then_some(kept_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted_and_not_told() {
        let throttle = Throttle::new(2, Duration::from_secs(1));
        let passed: Vec<_> = (0..5).map(|_| throttle.pass("a")).collect();
        assert_eq!(passed, [Some(0), Some(0), None, None, None]);
        assert_eq!(throttle.pass("b"), Some(0), "another kind");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((throttle.pass("a"), throttle.pass("a"), throttle.pass("a")), (Some(3), Some(0), None));
    }
}
