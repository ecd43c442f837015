//! The reader: the lines of a script, each as a typed value, and nothing but what the writer can say.
//!
//! A line is read where it may stand, and taken only if its value is written with the very same bytes. So whatever
//! nft is given is made of values of the model, and what is not a value of the model has no way to nft. Memory is that
//! of one line.

mod element;
mod line;
mod name;
mod rule;

pub use element::{Block, Item};
pub use line::{Line, Object, Place};

use std::fmt::{self, Write as _};

/// What this reader takes, as a number that grows whenever it takes more. An agent says it of its guard, and a compiler
/// sends no agent what its guard does not take.
///
/// 1 is what there was before there was a number; 2 is 1 and [`crate::attended`]; 3 is 2 and names of 32 digits, which
/// every script has; 4 is 3 and [`crate::drops`].
pub const GRAMMAR: u32 = 4;

/// Since which [`GRAMMAR`] a script may ask whether somebody attends to the node.
pub const GRAMMAR_ATTENDED: u32 = 2;

/// Since which [`GRAMMAR`] a script may take down what it drops.
pub const GRAMMAR_DROPS: u32 = 4;

/// The least [`GRAMMAR`] that takes any script of this version: names of sets and chains have 32 digits since.
pub const GRAMMAR_LEAST: u32 = 3;

/// The longest line, in bytes: 64 pairs of IPv6 addresses on a line that deletes take some 5,400.
pub const LINE_BYTES: usize = 8192;

/// Why a line is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not what the writer says there.
    #[error("expected {expected}, found {found:?}")]
    Unexpected {
        /// What may stand there.
        expected: Place,
        /// The line, shortened.
        found: String,
    },
    /// It is longer than any line of ours.
    #[error("the line has more than {LINE_BYTES} bytes")]
    TooLong,
    /// It does not end, or what it is in does not.
    #[error("the script ends where {0} is expected")]
    Cut(Place),
}

/// The lines of a script in order, up to the first one that is not readable.
#[derive(Debug)]
pub struct Lines<'s> {
    rest: &'s [u8],
    place: Option<Place>,
    written: String,
}

impl<'s> Lines<'s> {
    /// The lines of a script.
    #[must_use]
    pub const fn of(script: &'s [u8]) -> Self {
        Self { rest: script, place: Some(Place::Top), written: String::new() }
    }

    /// How many bytes are not read yet.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next line, and where the one after it stands.
    fn read(&mut self, place: Place) -> Result<(Line, Place), Unreadable> {
        let mut line = self.rest.splitn(2, |byte| *byte == b'\n');
        // The writer ends every line, so one without an end was cut off.
        let (Some(bytes), Some(rest)) = (line.next(), line.next()) else {
            return Err(Unreadable::Cut(place));
        };
        // Before any of it is read or copied into an error.
        if bytes.len() > LINE_BYTES {
            return Err(Unreadable::TooLong);
        }
        // What is no text reads as an empty line, and no value is written with such bytes.
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let Some((line, next)) = line::read(text, &place) else { return Err(unexpected(place, bytes)) };
        // Writing to a String cannot fail.
        self.written.clear();
        let _: fmt::Result = write!(self.written, "{line}");
        // Reading is lenient: numbers may have a sign, addresses another spelling. This makes it strict.
        if self.written.as_bytes() != bytes {
            return Err(unexpected(place, bytes));
        }
        self.rest = rest;
        Ok((line, next))
    }
}

fn unexpected(expected: Place, found: &[u8]) -> Unreadable {
    let found = String::from_utf8_lossy(found).chars().take(80).collect();
    Unreadable::Unexpected { expected, found }
}

impl Iterator for Lines<'_> {
    type Item = Result<Line, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        // Behind an error there is no place to go on from, so the next call ends the iteration.
        let place = self.place.take()?;
        if self.rest.is_empty() {
            return (place != Place::Top).then_some(Err(Unreadable::Cut(place)));
        }
        match self.read(place) {
            Ok((line, next)) => {
                self.place = Some(next);
                Some(Ok(line))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
