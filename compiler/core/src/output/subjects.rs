//! The isolated addresses of a node: ordered, persistent, with digests that cost what a change costs.
//!
//! They lie in chunks of about four. Where a chunk ends depends on the addresses alone, so equal subjects have equal
//! chunks however they came to be. A policy that isolates one of a node's pods in another way copies one chunk.

use std::hash::Hasher as _;
use std::net::IpAddr;
use std::sync::Arc;

use super::frame::{Isolation, Subject};
use super::rule_set::Fingerprint;
use crate::identity::Identity;
use crate::revision::Encoded;

/// Isolated addresses with how they are isolated, in order. Cloning shares them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subjects {
    chunks: Box<[Chunk]>,
}

type Entry = (IpAddr, Subject);

/// What finding and keeping a chunk takes stands beside the others', apart from its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chunk {
    last: IpAddr,
    digest: Identity,
    fingerprint: Fingerprint,
    entries: Arc<[Entry]>,
}

/// A chunk ends after an address whose hash has these bits clear: one in four. The higher bits of FNV-1a depend little on
/// the end of an input as short as an address.
const BOUNDARY: u64 = 3;

fn ends_chunk(address: &IpAddr) -> bool {
    let mut hasher = fnv::FnvHasher::default();
    match address {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    hasher.finish() & BOUNDARY == 0
}

impl Chunk {
    /// `None`: there are no entries.
    fn new(entries: &mut Vec<Entry>) -> Option<Self> {
        let last = entries.last()?.0;
        let mut encoded = Encoded::default();
        let prints = entries.iter().map(|(_, subject)| subject.fingerprint());
        let fingerprint = prints.fold(Fingerprint::default(), Fingerprint::union);
        for (address, subject) in &*entries {
            encoded.address(address);
            for isolation in [&subject.ingress, &subject.egress] {
                match isolation {
                    Isolation::Open => encoded.tag(0),
                    Isolation::Closed => encoded.tag(1),
                    Isolation::Rules(rules) => {
                        encoded.tag(2);
                        encoded.identity(&rules.digest);
                    }
                    Isolation::All(several) => {
                        encoded.tag(3);
                        encoded.count(several.len());
                        several.iter().for_each(|rules| encoded.identity(&rules.digest));
                    }
                }
            }
            encoded.count(subject.siblings.len());
            subject.siblings.iter().for_each(|sibling| encoded.address(sibling));
        }
        Some(Self { last, digest: encoded.finish(), fingerprint, entries: entries.drain(..).collect() })
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entries, &other.entries)
    }
}

/// Cuts ordered entries into chunks.
#[derive(Default)]
struct Cutter {
    chunks: Vec<Chunk>,
    open: Vec<Entry>,
}

impl Cutter {
    fn push(&mut self, entry: Entry) {
        let ends = ends_chunk(&entry.0);
        self.open.push(entry);
        if ends {
            self.close();
        }
    }

    fn close(&mut self) {
        self.chunks.extend(Chunk::new(&mut self.open));
    }

    fn finish(mut self) -> Subjects {
        self.close();
        Subjects { chunks: self.chunks.into() }
    }
}

impl Subjects {
    /// The addresses and how they are isolated, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&IpAddr, &Subject)> + Clone {
        self.chunks.iter().flat_map(|chunk| &*chunk.entries).map(|(address, subject)| (address, subject))
    }

    /// How the addresses are isolated, in their order.
    pub fn values(&self) -> impl Iterator<Item = &Subject> {
        self.iter().map(|(_, subject)| subject)
    }

    /// Those whose fingerprints are as wanted, which must be so of their unions too.
    pub(crate) fn matching(
        &self,
        wanted: impl Fn(Fingerprint) -> bool + Copy,
    ) -> impl Iterator<Item = &Subject> {
        let chunks = self.chunks.iter().filter(move |chunk| wanted(chunk.fingerprint));
        let subjects = chunks.flat_map(|chunk| &*chunk.entries).map(|(_, subject)| subject);
        subjects.filter(move |subject| wanted(subject.fingerprint()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.entries.len()).sum()
    }

    /// Whether nothing is isolated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How an address is isolated; `None`: not at all.
    #[must_use]
    pub fn get(&self, address: &IpAddr) -> Option<&Subject> {
        let place = self.chunks.partition_point(|chunk| chunk.last < *address);
        let entries = &self.chunks.get(place)?.entries;
        let place = entries.binary_search_by(|(other, _)| other.cmp(address)).ok()?;
        entries.get(place).map(|(_, subject)| subject)
    }

    /// Feeds the subjects: the digests of their chunks.
    pub(crate) fn identify(&self, encoded: &mut Encoded) {
        encoded.count(self.chunks.len());
        self.chunks.iter().for_each(|chunk| encoded.identity(&chunk.digest));
    }

    /// The subjects after edits, which are in order and name each address once; `None`: not isolated any more. Costs a
    /// pointer a chunk, and the chunks that change.
    #[must_use]
    pub fn edited(&self, edits: impl IntoIterator<Item = (IpAddr, Option<Subject>)>) -> Self {
        let chunks = Vec::with_capacity(self.chunks.len());
        let mut cutter = Cutter { chunks, open: Vec::new() };
        let mut edits = edits.into_iter().peekable();
        for chunk in &self.chunks {
            let later = edits.peek().is_none_or(|(address, _)| *address > chunk.last);
            // The last chunk may end where the addresses do: what follows belongs into it.
            if cutter.open.is_empty() && later && (ends_chunk(&chunk.last) || edits.peek().is_none()) {
                cutter.chunks.push(chunk.clone());
                continue;
            }
            cutter.open.reserve(chunk.entries.len());
            for (address, subject) in &*chunk.entries {
                while let Some((new, edit)) = edits.next_if(|(new, _)| new < address) {
                    edit.into_iter().for_each(|subject| cutter.push((new, subject)));
                }
                match edits.next_if(|(same, _)| same == address) {
                    Some((_, edit)) => edit.into_iter().for_each(|subject| cutter.push((*address, subject))),
                    None => cutter.push((*address, subject.clone())),
                }
            }
        }
        for (address, edit) in edits {
            edit.into_iter().for_each(|subject| cutter.push((address, subject)));
        }
        cutter.finish()
    }

    /// The subjects of two nodes' chunks that they do not share, by address, in order. What is equal may be among them.
    pub(crate) fn unshared<'a>(
        &'a self,
        new: &'a Self,
    ) -> impl Iterator<Item = (IpAddr, Option<&'a Subject>, Option<&'a Subject>)> {
        let own = |all: &'a Self, others: &'a Self| {
            // A node's pods come to a few chunks, so comparing all with all is no matter.
            let shared = |chunk: &&Chunk| others.chunks.iter().any(|other| other.is(chunk));
            all.chunks.iter().filter(move |chunk| !shared(chunk)).flat_map(|chunk| &*chunk.entries).peekable()
        };
        let (mut before, mut after) = (own(self, new), own(new, self));
        std::iter::from_fn(move || {
            let next =
                [before.peek().map(|(address, _)| *address), after.peek().map(|(address, _)| *address)];
            let address = next.into_iter().flatten().min()?;
            let old = before.next_if(|(other, _)| *other == address);
            let new = after.next_if(|(other, _)| *other == address);
            Some((address, old.map(|(_, subject)| subject), new.map(|(_, subject)| subject)))
        })
    }
}

impl FromIterator<Entry> for Subjects {
    /// One of an address is enough: they are equal.
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut entries: Vec<Entry> = entries.into_iter().collect();
        entries.sort_unstable_by_key(|(address, _)| *address);
        entries.dedup_by(|(a, _), (b, _)| a == b);
        let mut cutter = Cutter::default();
        entries.into_iter().for_each(|entry| cutter.push(entry));
        cutter.finish()
    }
}

impl std::ops::Index<&IpAddr> for Subjects {
    type Output = Subject;

    /// How an address is isolated.
    ///
    /// # Panics
    /// If it is not.
    fn index(&self, address: &IpAddr) -> &Subject {
        self.get(address).unwrap_or_else(|| panic!("{address} is not isolated"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn entry((number, closed): (&u8, &bool)) -> Entry {
        let of = |closed| if closed { Isolation::Closed } else { Isolation::Open };
        let address = Ipv4Addr::from(u32::from(*number)).into();
        (address, Subject::new(of(*closed), of(!*closed), Box::default()))
    }

    proptest::proptest! {
        #[test]
        fn edits_lead_to_the_subjects_that_are_built_at_once(
            first in proptest::collection::btree_map(0u8.., proptest::bool::ANY, 0..120),
            edits in proptest::collection::btree_map(0u8.., proptest::option::of(proptest::bool::ANY), 0..20),
        ) {
            let before: Subjects = first.iter().map(entry).collect();
            let mut model: BTreeMap<u8, bool> = first.clone();
            for (number, edit) in &edits {
                match edit {
                    Some(closed) => _ = model.insert(*number, *closed),
                    None => _ = model.remove(number),
                }
            }
            let list = edits.iter().map(|(number, edit)| {
                (entry((number, &false)).0, edit.map(|closed| entry((number, &closed)).1))
            });
            let after = before.edited(list);
            let at_once: Subjects = model.iter().map(entry).collect();
            proptest::prop_assert_eq!(&after, &at_once);
            proptest::prop_assert_eq!(after.len(), model.len());
            let differ: Vec<_> =
                before.unshared(&after).filter(|(_, old, new)| old != new).map(|(at, ..)| at).collect();
            let expected = edits.keys().filter(|number| first.get(number) != model.get(number));
            proptest::prop_assert_eq!(differ, expected.map(|n| entry((n, &false)).0).collect::<Vec<_>>());
            for number in edits.keys() {
                let (address, subject) = entry((number, model.get(number).unwrap_or(&false)));
                let expected = model.contains_key(number).then_some(&subject);
                proptest::prop_assert_eq!(after.get(&address), expected);
            }
        }
    }

    #[test]
    fn chunks_hold_a_few_addresses_of_either_family_as_nodes_count_them_up() {
        let closed = || Subject::new(Isolation::Closed, Isolation::Open, Box::default());
        let v4 = |number: u32| IpAddr::from(Ipv4Addr::from(0x0af4_0100 + number));
        let v6 = |number: u32| IpAddr::from(Ipv6Addr::from((0xfd00_u128 << 112) + u128::from(number)));
        for subjects in [
            (0..1000).map(|number| (v4(number), closed())).collect::<Subjects>(),
            (0..1000).map(|number| (v6(number), closed())).collect::<Subjects>(),
        ] {
            assert!((200..=320).contains(&subjects.chunks.len()), "{} chunks", subjects.chunks.len());
            let longest = subjects.chunks.iter().map(|chunk| chunk.entries.len()).max();
            assert!(longest < Some(40), "{longest:?}");
        }
    }
}
