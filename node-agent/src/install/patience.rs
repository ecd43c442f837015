//! When somebody else keeps taking the plugin out of a file: a few times it is put back at once, then ever less often.

use std::time::Duration;

use tokio::time::Instant;

/// How often in a [`WINDOW`] the plugin is put back before it is told.
const REWRITES: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);
/// The first and the longest pause after that.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LAST_PAUSE: Duration = Duration::from_secs(960);

/// Whether the plugin is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is.
    Write,
    /// It is, and after this there is a pause, which is to be told.
    WriteAndPause(Duration),
    /// There is a pause.
    Wait,
}

/// What was written to one file, and when.
#[derive(Debug, Default)]
pub struct Patience {
    written: Vec<Instant>,
    pause: Option<Pause>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    length: Duration,
    until: Instant,
}

impl Patience {
    /// Returns true if there is a pause.
    #[must_use]
    pub fn is_paused(&self, now: Instant) -> bool {
        self.pause.is_some_and(|pause| now < pause.until)
    }

    /// Whether the file is written, which somebody has changed.
    pub fn turn(&mut self, now: Instant) -> Turn {
        if self.is_paused(now) {
            return Turn::Wait;
        }
        self.written.retain(|written| now.duration_since(*written) < WINDOW);
        self.written.push(now);
        // A fight that goes on after a pause is the same one.
        let goes_on = self.pause.filter(|pause| now.duration_since(pause.until) < pause.length);
        if self.written.len() < REWRITES && goes_on.is_none() {
            self.pause = None;
            return Turn::Write;
        }
        let length = goes_on.map_or(FIRST_PAUSE, |pause| (pause.length * 2).min(LAST_PAUSE));
        self.pause = Some(Pause { length, until: now + length });
        self.written.clear();
        Turn::WriteAndPause(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_third_rewrite_of_a_minute_is_the_last_for_a_while() {
        let mut patience = Patience::default();
        let start = Instant::now();
        let mut at = |seconds: u32| patience.turn(start + SECOND * seconds);
        assert_eq!([at(0), at(1)], [Turn::Write; 2]);
        assert_eq!(at(2), Turn::WriteAndPause(SECOND * 60));
        assert_eq!([at(3), at(61)], [Turn::Wait; 2]);
        // It goes on: once after each pause, which grow.
        assert_eq!(at(62), Turn::WriteAndPause(SECOND * 120));
        assert_eq!(at(181), Turn::Wait);
        assert_eq!(at(190), Turn::WriteAndPause(SECOND * 240));
        // It has ended.
        assert_eq!(at(10_000), Turn::Write);
    }

    #[test]
    fn rewrites_now_and_then_are_no_fight() {
        let mut patience = Patience::default();
        let start = Instant::now();
        for turn in 0..20 {
            assert_eq!(patience.turn(start + SECOND * 31 * turn), Turn::Write, "{turn}");
        }
    }

    #[test]
    fn pauses_have_an_end() {
        let mut patience = Patience::default();
        let mut now = Instant::now();
        let mut longest = Duration::ZERO;
        for _ in 0..40 {
            if let Turn::WriteAndPause(length) = patience.turn(now) {
                longest = longest.max(length);
                now += length;
            }
        }
        assert_eq!(longest, LAST_PAUSE);
    }
}
