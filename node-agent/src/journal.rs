//! What led to the state that stands: a full script, and the deltas that nft took since.
//!
//! Put one after the other they are one transaction, and reach the state from anywhere: so a table that was lost is
//! brought back as it was, at no moment older than that. Real nft is made to do it in the tests.

use bytes::Bytes;
use flock_proto::Position;
use flock_shared::{Revision, Script, Superseded, steps};

/// Deltas that are kept. What nft needs for a transaction grows with the square of them: at so many it is 0.15 s on top
/// of what the full script takes.
const COUNT: usize = 1024;

/// The deltas of a small full script may come to so many bytes; those of a larger one to as much as it has itself.
const BYTES: usize = 1 << 20;

/// What deltas hold in all, as [`objects_in`] counts. They are one transaction with the last step of the full script:
/// so it needs 160 MB of the kernel's memory at worst.
const OBJECTS: usize = 20_000;

/// A script that nft took, and the state that it reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// The state.
    pub revision: Revision,
    /// How far into the cluster's history the state reaches.
    pub position: Position,
    /// What the table had gone on from then and still held markers of.
    pub superseded: Superseded,
    /// The script.
    pub script: Script,
}

impl JournalEntry {
    /// Returns true if the other is the same, by its hash.
    fn is(&self, other: &Self) -> bool {
        let Self { revision, position, superseded, script } = self;
        script.hash() == other.script.hash()
            && *revision == other.revision
            && *position == other.position
            && *superseded == other.superseded
    }
}

/// A full script and the deltas since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    full: JournalEntry,
    deltas: Vec<JournalEntry>,
    /// Of the deltas.
    bytes: usize,
    /// Of the deltas.
    objects: usize,
}

/// A journal with one more delta would be too long to be worth keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Journal {
    /// Begins with a full script.
    #[must_use]
    pub const fn new(full: JournalEntry) -> Self {
        Self { full, deltas: Vec::new(), bytes: 0, objects: 0 }
    }

    /// Takes a delta down.
    ///
    /// # Errors
    /// When deltas are more than a new full script.
    pub fn push(&mut self, delta: JournalEntry) -> Result<(), TooLong> {
        let bytes = self.bytes + delta.script.bytes().len();
        let objects = self.objects + objects_in(delta.script.bytes());
        let most = self.full.script.bytes().len().max(BYTES);
        if self.deltas.len() == COUNT || bytes > most || objects > OBJECTS {
            return Err(TooLong);
        }
        (self.bytes, self.objects) = (bytes, objects);
        // A copy: what came off the wire is a small part of a buffer.
        let script = Script::new(Bytes::copy_from_slice(delta.script.bytes()));
        self.deltas.push(JournalEntry { script, ..delta });
        Ok(())
    }

    /// The deltas that `earlier` has yet to take down to become this; `None` if it cannot.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<&[JournalEntry]> {
        let (both, more) = self.deltas.split_at_checked(earlier.deltas.len())?;
        let is_same = self.full.is(&earlier.full)
            && both.iter().zip(&earlier.deltas).all(|(here, there)| here.is(there));
        is_same.then_some(more)
    }

    /// The full script.
    #[must_use]
    pub const fn full(&self) -> &JournalEntry {
        &self.full
    }

    /// The deltas, in order.
    #[must_use]
    pub fn deltas(&self) -> &[JournalEntry] {
        &self.deltas
    }

    /// What was taken down last: the state that stands.
    #[must_use]
    pub fn last(&self) -> &JournalEntry {
        self.deltas.last().unwrap_or(&self.full)
    }

    /// Everything as one script: the deltas stand in the last step of the full script, so that the table is at no moment
    /// an older one.
    #[must_use]
    pub fn script(&self) -> Script {
        if self.deltas.is_empty() {
            return self.full.script.clone();
        }
        let mut bytes = Vec::with_capacity(self.full.script.bytes().len() + self.bytes + self.deltas.len());
        let deltas = self.deltas.iter().flat_map(|delta| steps::of(delta.script.bytes()));
        for piece in std::iter::once(&**self.full.script.bytes()).chain(deltas) {
            bytes.extend_from_slice(piece);
            if bytes.last() != Some(&b'\n') {
                bytes.push(b'\n');
            }
        }
        Script::new(bytes)
    }
}

/// At least how many elements and statements a script holds: what its commas and lines part.
fn objects_in(script: &[u8]) -> usize {
    script.iter().filter(|byte| matches!(byte, b',' | b'\n')).count()
}

#[cfg(test)]
mod tests {
    use flock_shared::ScriptHash;

    use super::*;

    fn entry(text: &str) -> JournalEntry {
        let script = Script::new(text.to_owned());
        let (position, superseded) = (Position::default(), Superseded::default());
        JournalEntry { revision: Revision::of(script.hash()), position, superseded, script }
    }

    fn journal(full: &str, deltas: &[&str]) -> Journal {
        let mut journal = Journal::new(entry(full));
        deltas.iter().for_each(|delta| journal.push(entry(delta)).unwrap());
        journal
    }

    #[test]
    fn the_scripts_follow_each_other_line_by_line() {
        assert_eq!(journal("a\n", &[]).script(), Script::new("a\n"));
        assert_eq!(journal("a\n", &["b", "c\nd\n"]).script(), Script::new("a\nb\nc\nd\n"));
        assert_eq!(journal("a", &[]).script().hash(), ScriptHash::of(b"a"), "what is alone stays as it is");
    }

    #[test]
    fn deltas_stand_in_the_last_step_of_the_full_script() {
        let script = journal("a\n# step\nb\n", &["c\n# step\nd\n", "e"]).script();
        assert_eq!(script, Script::new("a\n# step\nb\nc\nd\ne\n"));
    }

    #[test]
    fn the_last_one_is_the_state() {
        assert_eq!(journal("a", &[]).last(), &entry("a"));
        assert_eq!(journal("a", &["b", "c"]).last(), &entry("c"));
    }

    #[test]
    fn what_came_since_is_told_of_the_same_journal_only() {
        let newer = journal("a", &["b", "c"]);
        for (earlier, since) in [
            (journal("a", &[]), Some(2)),
            (journal("a", &["b"]), Some(1)),
            (newer.clone(), Some(0)),
            (journal("a", &["c"]), None),
            (journal("a", &["b", "c", "d"]), None),
            (journal("d", &["b"]), None),
        ] {
            let expected = since.map(|count| &newer.deltas()[2 - count..]);
            assert_eq!(newer.since(&earlier), expected, "{earlier:?}");
        }
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let mut many = journal("a", &["b"; COUNT]);
        assert_eq!(many.push(entry("b")), Err(TooLong));
        assert_eq!(many.deltas().len(), COUNT);

        let quarter = "x".repeat(BYTES / 4);
        assert_eq!(journal("a", &[quarter.as_str(); 4]).push(entry("b")), Err(TooLong));
        let elements = "1,".repeat(OBJECTS / 2);
        let two = [elements.as_str(); 2];
        assert_eq!(journal("a", &two).push(entry("b\n")), Err(TooLong));
        let large = "x".repeat(BYTES * 2);
        let mut roomy = journal(&large, &[quarter.as_str(); 8]);
        assert_eq!(roomy.push(entry("b")), Err(TooLong));
    }
}
