//! Entry points of the fuzz targets in `node-agent/fuzz`. They are here so that an ordinary test runs them on their corpora,
//! and are built for these two only.

use bytes::Bytes;
use flock_nft::read::Lines;
use flock_proto::{AgentMessage, Position, Update, v1};
use flock_shared::{NodeName, Revision, SUPERSEDED_LIMIT, Script, ScriptHash, Superseded};
use prost::Message as _;

use crate::conntrack::message::{self, CtMessage};
use crate::decide::{Decider, Decision};
use crate::generations::{Generations, Observation};
use crate::guard::{self, Costs, Refused, Why};
use crate::journal::JournalEntry;
use crate::record;

/// Whatever update comes, only what the guard lets pass would reach nft, and only with the hash that it was sent with.
///
/// # Panics
/// If it is otherwise, which is what fuzzing looks for.
pub fn update(bytes: &[u8]) {
    let Some(update) = wire(bytes) else { return };
    // Fuzzing does not find hashes: the same once more with the right one.
    let hash = Bytes::copy_from_slice(ScriptHash::of(&update.script).as_bytes());
    for update in [v1::Update { sha256: hash, ..update.clone() }, update] {
        let mut decider = Decider::new();
        if let Decision::Run(job) = decider.receive(update.clone()) {
            assert!(guard::check(&Costs::default(), job.script.bytes()).is_ok());
            assert_eq!(job.script.hash().as_bytes()[..], update.sha256[..]);
            let answer = decider.committed(job.clone());
            assert!(answer.outcome.is_success() && answer.revision == Some(job.revision));
        }
    }
}

/// Whatever bytes come, what is taken for a message survives being sent; the update that they are, if they are one.
fn wire(bytes: &[u8]) -> Option<v1::Update> {
    if let Ok(message) = v1::AgentMessage::decode(bytes)
        && let Ok(typed) = AgentMessage::try_from(message)
    {
        let again = v1::AgentMessage::from(typed.clone()).encode_to_vec();
        let again = v1::AgentMessage::decode(&*again).map(AgentMessage::try_from);
        assert_eq!(again, Ok(Ok(typed)));
    }
    let update = v1::Update::decode(bytes).ok()?;
    if let Ok(typed) = Update::try_from(update.clone()) {
        assert_eq!(Update::try_from(v1::Update::from(typed.clone())), Ok(typed));
    }
    Some(update)
}

/// What passes the guard is what the writer of its lines says, byte by byte; and it passes behind itself, as in a
/// journal, unless that adds up to too much.
///
/// # Panics
/// If it is otherwise.
pub fn guarded(script: &[u8]) {
    let Ok(costs) = guard::check(&Costs::default(), script) else { return };
    let lines =
        Lines::of(script).map(|line| line.map_or_else(|error| error.to_string(), |line| format!("{line}\n")));
    assert!(lines.flat_map(String::into_bytes).eq(script.iter().copied()));
    assert!(script.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b' '..=b'~')), "a character");
    match guard::check(&costs, script) {
        Ok(_) => {}
        Err(Refused { why, .. }) => assert!(matches!(why, Why::TooMany { .. }), "{why}"),
    }
}

/// No bytes are taken for a record by accident; what was written is read, and any one byte that is changed is noticed.
///
/// # Panics
/// If it is otherwise.
pub fn records(bytes: &[u8]) {
    let whole = Bytes::copy_from_slice(bytes);
    if let Ok((node, entry, seal)) = record::read_full(&whole) {
        let header = record::full(&entry, &node);
        assert_eq!([header.text.as_bytes(), entry.script.bytes()].concat(), bytes);
        assert_eq!(header.seal, seal);
    }
    let nothing = ScriptHash::of(b"");
    if let Ok((entry, _, end)) = record::read_delta(&whole, nothing) {
        let header = record::delta(&entry, nothing);
        assert_eq!([header.text.as_bytes(), entry.script.bytes()].concat(), bytes[..end]);
    }

    let Ok(node) = "n1".parse::<NodeName>() else { return };
    let Ok(position) = Position::new(&bytes[..bytes.len().min(64)]) else { return };
    let script = Script::new(whole);
    let left = bytes.iter().take(SUPERSEDED_LIMIT).map(|byte| Revision::of(ScriptHash::of(&[*byte])));
    let superseded = Superseded::new(left.collect()).unwrap_or_default();
    let entry = JournalEntry { revision: Revision::of(script.hash()), position, superseded, script };
    let (full, delta) = (record::full(&entry, &node), record::delta(&entry, nothing));
    let written = |header: &record::Header| [header.text.as_bytes(), bytes].concat();
    assert_eq!(record::read_full(&written(&full).into()), Ok((node, entry.clone(), full.seal)));
    let record = written(&delta);
    assert_eq!(record::read_delta(&record.clone().into(), nothing), Ok((entry, delta.seal, record.len())));
    let place = bytes.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let place = place % record.len();
    let mut changed = record;
    changed[place] ^= 1;
    assert_eq!(record::read_delta(&changed.into(), nothing), Err(record::Changed));
}

/// Whatever the kernel's socket gives, in datagrams of whatever length: nobody is accused of edits of our table if its
/// name was not heard.
///
/// # Panics
/// If it is otherwise.
pub fn heard(bytes: &[u8]) {
    for length in [bytes.len().max(1), 16, 61] {
        let mut generations = Generations::new(7);
        bytes.chunks(length).for_each(|datagram| generations.hear(datagram));
        let observation = generations.settle(0);
        let is_named = bytes.windows(12).any(|part| part == b"flock_netpol");
        assert!(observation < Observation::Edited || is_named);
        assert_ne!(observation, Observation::Blind, "nothing of ours was missed");
        generations.missed();
        assert!(generations.settle(1) >= Observation::Unknown);
    }
}

/// Whatever the kernel tells of connections is read within its bounds; how many entries it is taken for. What makes one
/// entry is what removes it.
///
/// # Panics
/// If it is otherwise.
pub fn told(datagram: &[u8]) -> usize {
    let sequence = datagram.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(5, u32::from_ne_bytes);
    let mut entries = 0;
    for said in message::said(datagram, sequence) {
        if let CtMessage::Entry(entry) = said {
            let removal = message::removal(&entry, 1);
            assert!(removal.len() <= datagram.len() + 3, "no more than what was told");
            assert_eq!(entry.flow.source.is_ipv4(), entry.flow.destination.is_ipv4());
            entries += 1;
        }
    }
    entries
}

#[cfg(test)]
#[path = "fuzzing_tests.rs"]
mod tests;
