//! Attendance: when the table is told that a compiler attends to the node.
//!
//! Some tables ask that (`flock_nft::attended`), since a node without a compiler has to reckon with pods that it is not told
//! of. It is told so while a stream is open on which the compiler has said what the node should have, and that stands. What
//! is told wears off by itself, whatever happens to this process, so it is told again and again; when it is no longer true
//! while the agent lives, that is told at once. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// For how long the table believes it.
pub const BELIEVED: Duration = Duration::from_secs(30);
/// How often it is told: two may be late or fail.
pub const AGAIN: Duration = Duration::from_secs(10);
/// When it is told again if nft did not take it.
const RETRY: Duration = Duration::from_secs(1);

/// What the table was told of a compiler that attends to the node, and when it is told again.
#[derive(Debug, Default)]
pub struct Attendance {
    /// The stream on which the compiler said last what the node should have.
    stream: Option<u64>,
    /// When the table is to be told again; `None`: it was told nothing that is still believed.
    again: Option<Instant>,
}

/// What the table is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// That somebody attends.
    Attended,
    /// That nobody does.
    Left,
}

impl Attendance {
    /// The compiler has said on this stream what the node should have, and nothing of it is refused.
    pub const fn served(&mut self, stream: u64) {
        self.stream = Some(stream);
    }

    /// It is not known whether what stands is what the compiler means.
    pub const fn unserved(&mut self) {
        self.stream = None;
    }

    /// The table was put in place anew, and was told nothing so far.
    pub const fn replaced(&mut self) {
        self.again = None;
    }

    /// When the table is to be told something, if it asks.
    #[must_use]
    pub const fn due(&self) -> Option<Instant> {
        self.again
    }

    /// What the table is to be told: whether it asks, and whether it is what was asked for, decides with which stream is
    /// open.
    #[must_use]
    pub fn word(&self, asks: bool, is_current: bool, open: Option<u64>, now: Instant) -> Option<Word> {
        // The open stream has to be the one on which was said what stands: another one may yet say something else.
        let is_attended = is_current && open.is_some() && self.stream == open;
        match (asks, is_attended, self.again) {
            (true, true, None) => Some(Word::Attended),
            (true, true, Some(again)) => (again <= now).then_some(Word::Attended),
            (true, false, Some(_)) => Some(Word::Left),
            (true, false, None) | (false, ..) => None,
        }
    }

    /// The table was told, or nft did not take it.
    pub fn told(&mut self, word: Option<Word>, is_taken: bool, now: Instant) {
        self.again = match (word, is_taken) {
            (Some(Word::Attended), true) => Some(now + AGAIN),
            (Some(Word::Attended), false) => Some(now + RETRY),
            // Nothing is told again: without more words the table stops believing by itself.
            (Some(Word::Left) | None, _) => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks, and takes what it is told.
    fn next(attendance: &mut Attendance, open: Option<u64>, now: Instant) -> Option<Word> {
        let word = attendance.word(true, true, open, now);
        if word.is_some() {
            attendance.told(word, true, now);
        }
        word
    }

    #[test]
    fn the_table_is_told_again_and_again_while_the_compiler_is_there() {
        let (mut attendance, mut now) = (Attendance::default(), Instant::now());
        assert_eq!(next(&mut attendance, Some(1), now), None, "the compiler has said nothing yet");
        attendance.served(1);
        for _ in 0..3 {
            assert_eq!(next(&mut attendance, Some(1), now), Some(Word::Attended));
            assert_eq!(next(&mut attendance, Some(1), now), None);
            now = attendance.due().unwrap();
        }
        assert!(2 * AGAIN < BELIEVED);
        assert_eq!(attendance.word(false, true, Some(1), now), None, "a table that does not ask");
        attendance.told(Some(Word::Attended), false, now);
        assert_eq!(attendance.due(), Some(now + RETRY));
        attendance.replaced();
        assert_eq!(next(&mut attendance, Some(1), now), Some(Word::Attended), "a new table knows nothing");
    }

    #[test]
    fn a_stream_that_ends_an_update_that_is_refused_and_another_stream_are_told_at_once() {
        let now = Instant::now();
        let attended = || {
            let mut attendance = Attendance::default();
            attendance.served(1);
            assert_eq!(next(&mut attendance, Some(1), now), Some(Word::Attended));
            attendance
        };
        assert_eq!(attended().word(true, false, Some(1), now), Some(Word::Left));
        let mut refused = attended();
        refused.unserved();
        assert_eq!(refused.word(true, true, Some(1), now), Some(Word::Left));
        for open in [None, Some(2)] {
            let mut attendance = attended();
            assert_eq!(next(&mut attendance, open, now), Some(Word::Left), "{open:?}");
            assert_eq!(next(&mut attendance, open, now), None, "once is enough");
        }
    }
}
