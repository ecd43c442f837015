//! How a journal is written down: a header, an empty line, the script; and the same again for each delta.
//!
//! A header names the state, holds the script's SHA-256, and ends with the SHA-256 of itself, its seal. That of a full
//! script names the node; that of a delta the seal before it. So a record that was torn off, changed or left over
//! from an older journal is no part of it. Pure.

use std::fmt::Write as _;

use bytes::Bytes;
use flock_proto::Position;
use flock_shared::{NodeName, Revision, Script, ScriptHash, Superseded};

use crate::journal::JournalEntry;

const FULL: &str = "flock-netpol ruleset 1";
const DELTA: &str = "flock-netpol delta 1";
/// No header is longer.
pub(crate) const HEADER_LENGTH: usize = 2048;

/// What comes before a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) text: String,
    /// What the next record names.
    pub(crate) seal: ScriptHash,
}

/// A record that nobody wrote like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changed;

/// The header of a node's full script.
pub(crate) fn full(entry: &JournalEntry, node: &NodeName) -> Header {
    sealed(&format!("{FULL}\nnode {node}\n{}", state(entry)))
}

/// The header of a delta; `after`: the seal before it.
pub(crate) fn delta(entry: &JournalEntry, after: ScriptHash) -> Header {
    let length = entry.script.bytes().len();
    sealed(&format!("{DELTA}\nafter {after}\nlength {length}\n{}", state(entry)))
}

/// Of a file that is a header and a script: whose it is, what it says, and its seal.
pub(crate) fn read_full(bytes: &Bytes) -> Result<(NodeName, JournalEntry, ScriptHash), Changed> {
    let found = RawHeader::header(bytes)?;
    let node = NodeName::new(found.field("node ")?).map_err(|_| Changed)?;
    let entry = found.entry(bytes.slice(found.text.len()..))?;
    let header = full(&entry, &node);
    // Written anew and compared: whatever this agent would have written otherwise is not its own.
    if header.text == found.text { Ok((node, entry, header.seal)) } else { Err(Changed) }
}

/// Of the records after the seal `after`: what the first one says, its seal, and where the next one begins.
pub(crate) fn read_delta(
    bytes: &Bytes,
    after: ScriptHash,
) -> Result<(JournalEntry, ScriptHash, usize), Changed> {
    let found = RawHeader::header(bytes)?;
    let start = found.text.len();
    let length: usize = found.field("length ")?.parse().map_err(|_| Changed)?;
    let end = start.checked_add(length).filter(|end| *end <= bytes.len()).ok_or(Changed)?;
    let entry = found.entry(bytes.slice(start..end))?;
    let header = delta(&entry, after);
    if header.text == found.text { Ok((entry, header.seal, end)) } else { Err(Changed) }
}

/// Returns true if the bytes begin with a delta as it was written, whatever it follows.
pub(crate) fn is_delta(bytes: &Bytes) -> bool {
    let named = RawHeader::header(bytes).and_then(|found| digits(found.field("after ")?));
    let after = named.ok().and_then(|named| named.try_into().ok()).map(ScriptHash::from_bytes);
    after.is_some_and(|after| read_delta(bytes, after).is_ok())
}

fn state(JournalEntry { revision, position, superseded, script }: &JournalEntry) -> String {
    let mut lines = format!("revision {revision}\n");
    if !position.is_unknown() {
        lines.push_str("position ");
        for byte in position.as_bytes() {
            // Writing to a String cannot fail.
            let _ = write!(lines, "{byte:02x}");
        }
        lines.push('\n');
    }
    if !superseded.is_empty() {
        let revisions: Vec<&str> = superseded.iter().map(Revision::as_str).collect();
        let _ = writeln!(lines, "superseded {}", revisions.join(" "));
    }
    let _ = writeln!(lines, "sha256 {}", script.hash());
    lines
}

fn sealed(fields: &str) -> Header {
    let seal = ScriptHash::of(fields.as_bytes());
    Header { text: format!("{fields}seal {seal}\n\n"), seal }
}

/// A header as it was found, which is compared with the one that belongs to what it says.
struct RawHeader<'a> {
    text: &'a str,
}

impl<'a> RawHeader<'a> {
    fn header(bytes: &'a [u8]) -> Result<Self, Changed> {
        // Not searched any further: it may be any file, of any size.
        let end = bytes.windows(2).take(HEADER_LENGTH).position(|pair| pair == b"\n\n").ok_or(Changed)? + 2;
        Ok(Self { text: std::str::from_utf8(&bytes[..end]).map_err(|_| Changed)? })
    }

    fn field(&self, name: &str) -> Result<&'a str, Changed> {
        self.text.lines().find_map(|line| line.strip_prefix(name)).ok_or(Changed)
    }

    fn entry(&self, script: Bytes) -> Result<JournalEntry, Changed> {
        let revision: Revision = self.field("revision ")?.parse().map_err(|_| Changed)?;
        let position =
            Position::new(&digits(self.field("position ").unwrap_or_default())?).map_err(|_| Changed)?;
        let superseded = self.field("superseded ").unwrap_or_default().split_whitespace();
        let superseded = superseded.map(str::parse).collect::<Result<_, _>>().map_err(|_| Changed)?;
        let superseded = Superseded::new(superseded).map_err(|_| Changed)?;
        Ok(JournalEntry { revision, position, superseded, script: Script::new(script) })
    }
}

fn digits(text: &str) -> Result<Vec<u8>, Changed> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(byte).collect::<Option<_>>().ok_or(Changed)
}

#[cfg(test)]
mod tests {
    use flock_shared::SUPERSEDED_LIMIT;

    use super::*;

    fn entry(text: &'static str, position: &[u8]) -> JournalEntry {
        let (script, superseded) = (Script::new(text), Superseded::default());
        let (revision, position) = (Revision::of(script.hash()), Position::new(position).unwrap());
        JournalEntry { revision, position, superseded, script }
    }

    /// The same, on a table that has gone on so often.
    fn after(count: usize, entry: JournalEntry) -> JournalEntry {
        let revision = |number: usize| Revision::of(ScriptHash::of(&number.to_be_bytes()));
        JournalEntry { superseded: Superseded::new((0..count).map(revision).collect()).unwrap(), ..entry }
    }

    fn node() -> NodeName {
        NodeName::new("n1").unwrap()
    }

    fn record(header: &Header, entry: &JournalEntry) -> Vec<u8> {
        [header.text.as_bytes(), entry.script.bytes()].concat()
    }

    #[test]
    fn what_was_written_is_read() {
        for (position, count) in [(&b""[..], 0), (b"Pod=7", 1), (&[0xff; 256], SUPERSEDED_LIMIT)] {
            let [first, second] =
                [entry("a\n\n\nb\n", position), entry("c\n", position)].map(|it| after(count, it));
            let header = full(&first, &node());
            assert!(header.text.len() <= HEADER_LENGTH);
            assert_eq!(read_full(&record(&header, &first).into()), Ok((node(), first, header.seal)));

            let after = header.seal;
            let header = delta(&second, after);
            let bytes = [record(&header, &second), b"next".to_vec()].concat();
            let length = bytes.len() - 4;
            assert_eq!(read_delta(&bytes.into(), after), Ok((second, header.seal, length)));
        }
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let entry = after(2, entry("a\n\n\nb\n", b"Pod=7"));
        let seal = ScriptHash::of(b"");
        let (full, delta) = (record(&full(&entry, &node()), &entry), record(&delta(&entry, seal), &entry));
        for place in 0..full.len().max(delta.len()) {
            let changed = |record: &[u8]| {
                let mut changed = record.to_vec();
                changed[place] ^= 1;
                Bytes::from(changed)
            };
            let torn = |record: &[u8]| Bytes::copy_from_slice(&record[..place]);
            if place < full.len() {
                assert_eq!(read_full(&changed(&full)), Err(Changed), "byte {place}");
                assert_eq!(read_full(&torn(&full)), Err(Changed), "{place} bytes");
            }
            if place < delta.len() {
                assert_eq!(read_delta(&changed(&delta), seal), Err(Changed), "byte {place}");
                assert_eq!(read_delta(&torn(&delta), seal), Err(Changed), "{place} bytes");
            }
        }
    }

    #[test]
    fn a_record_belongs_to_what_came_before_it() {
        let entry = entry("a\n", b"");
        let bytes = Bytes::from(record(&delta(&entry, ScriptHash::of(b"before")), &entry));
        assert!(read_delta(&bytes, ScriptHash::of(b"before")).is_ok());
        assert_eq!(read_delta(&bytes, ScriptHash::of(b"other")), Err(Changed));
        assert_eq!(read_full(&bytes), Err(Changed));
    }

    #[test]
    fn what_was_written_before_there_were_positions_and_superseded_revisions_is_read() {
        let header = full(&entry("a\n", b""), &node());
        assert!(!header.text.contains("position") && !header.text.contains("superseded"));
    }
}
