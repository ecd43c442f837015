//! What is to be looked at once more, and when. Pure, and bounded: times are of one grid, and addresses of one time are one set.

use std::collections::BTreeMap;
use std::time::Duration;

use flock_proto::LAST_LOOK;
use flock_shared::prefixes::Prefixes;
use tokio::time::Instant;

/// The grid.
const STEP: Duration = Duration::from_millis(100);
/// From a look to those that follow. Packets that were on their way when the table changed have arrived by the first. By the
/// second the node of the other end has looked, which has to come before this one for some connections: the compiler says
/// which.
const AFTER: [Duration; 2] = [Duration::from_millis(300), LAST_LOOK];

/// Addresses by the time at which they are looked at again.
#[derive(Debug)]
pub(super) struct LooksAgain {
    start: Instant,
    /// By the number of steps from the start.
    due: BTreeMap<u128, Prefixes>,
}

impl LooksAgain {
    pub(super) const fn new(start: Instant) -> Self {
        Self { start, due: BTreeMap::new() }
    }

    /// These have been looked at for the first time.
    pub(super) fn looked(&mut self, now: Instant, at: &Prefixes) {
        if at.is_empty() {
            return;
        }
        for after in AFTER {
            // In steps, so that what is due at nearly the same time is one look; rounded up, so that none is too
            // early.
            let step = (now + after - self.start).as_nanos().div_ceil(STEP.as_nanos());
            self.due.entry(step).or_default().extend(at.iter().copied());
        }
    }

    /// What is to be looked at again by now.
    pub(super) fn take(&mut self, now: Instant) -> Prefixes {
        let step = (now - self.start).as_nanos() / STEP.as_nanos();
        let later = self.due.split_off(&(step + 1));
        let mut all = Prefixes::default();
        for prefixes in std::mem::replace(&mut self.due, later).into_values() {
            all.extend(prefixes.iter().copied());
        }
        all
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let (step, _) = self.due.first_key_value()?;
        Some(self.start + STEP * u32::try_from(*step).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn of(last: u8) -> Prefixes {
        [IpAddr::from([10, 0, 0, last])].into_iter().collect()
    }

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn each_is_looked_at_twice_more() {
        let start = Instant::now();
        let mut again = LooksAgain::new(start);
        assert_eq!(again.next(), None);
        again.looked(at(start, 50), &of(1));
        again.looked(at(start, 150), &of(2));
        assert_eq!(again.next(), Some(at(start, 400)));
        assert!(again.take(at(start, 399)).is_empty());
        assert_eq!(again.take(at(start, 400)), of(1));
        assert_eq!(again.take(at(start, 3_099)), of(2));
        assert_eq!(again.take(at(start, 3_100)), of(1));
        assert_eq!(again.take(at(start, 60_000)), of(2));
        assert_eq!(again.next(), None);
    }

    #[test]
    fn it_stays_small_and_nobody_is_put_off() {
        let start = Instant::now();
        let mut again = LooksAgain::new(start);
        for millis in 0..10_000 {
            again.looked(at(start, millis), &of(1));
            let due = again.next().unwrap();
            assert!(due <= at(start, millis) + AFTER[0] + STEP);
            again.take(at(start, millis));
            assert!(again.due.len() <= 32, "{}", again.due.len());
        }
    }

    #[test]
    fn nothing_is_not_looked_at_again() {
        let start = Instant::now();
        let mut again = LooksAgain::new(start);
        again.looked(start, &Prefixes::default());
        assert_eq!(again.next(), None);
    }
}
