//! The isolated addresses of a node: ordered, persistent, with digests that cost what a change costs.
//!
//! They lie in chunks of about four. Where a chunk ends depends on the addresses alone, so equal subjects have equal
//! chunks however they came to be. A policy that isolates one of a node's pods in another way copies one chunk, and lays
//! it over those that stay: to count a reference to each of them would be to fetch each from memory.

use std::hash::Hasher as _;
use std::net::IpAddr;
use std::sync::Arc;

use super::frame::{Isolation, Subject};
use super::rule_set::Fingerprint;
use crate::identity::Identity;
use crate::revision::Encoded;

/// Isolated addresses with how they are isolated, in order. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Subjects {
    base: Arc<[Chunk]>,
    /// Chunks that stand in the place of others with the same addresses, by place. At most [`LAID_OVER`].
    newer: Box<[(usize, Chunk)]>,
}

/// Beyond so many the chunks are put together anew.
const LAID_OVER: usize = 4;

/// Equal chunks, wherever they lie.
impl PartialEq for Subjects {
    fn eq(&self, other: &Self) -> bool {
        self.chunks().eq(other.chunks())
    }
}

impl Eq for Subjects {}

type Entry = (IpAddr, Subject);
type Edit = (IpAddr, Option<Subject>);

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
    fn new(entries: Arc<[Entry]>) -> Option<Self> {
        let last = entries.last()?.0;
        let mut encoded = Encoded::default();
        let prints = entries.iter().map(|(_, subject)| subject.fingerprint());
        let fingerprint = prints.fold(Fingerprint::default(), Fingerprint::union);
        for (address, subject) in entries.iter() {
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
        Some(Self { last, digest: encoded.finish(), fingerprint, entries })
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
        self.chunks.extend(Chunk::new(self.open.drain(..).collect()));
    }

    fn finish(mut self) -> Subjects {
        self.close();
        Subjects { base: self.chunks.into(), newer: Box::default() }
    }
}

impl Subjects {
    fn chunks(&self) -> impl Iterator<Item = &Chunk> + Clone {
        let mut newer = self.newer.iter().peekable();
        self.base.iter().enumerate().map(move |(place, chunk)| {
            newer.next_if(|(other, _)| *other == place).map_or(chunk, |(_, newer)| newer)
        })
    }

    /// The chunk in which an address is, if it is anywhere, and its place.
    fn around(&self, address: &IpAddr) -> Option<(usize, &Chunk)> {
        let place = self.base.partition_point(|chunk| chunk.last < *address);
        let newer = self.newer.iter().find(|(other, _)| *other == place);
        newer.map(|(_, chunk)| chunk).or_else(|| self.base.get(place)).map(|chunk| (place, chunk))
    }

    /// The addresses and how they are isolated, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&IpAddr, &Subject)> + Clone {
        self.chunks().flat_map(|chunk| &*chunk.entries).map(|(address, subject)| (address, subject))
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
        let chunks = self.chunks().filter(move |chunk| wanted(chunk.fingerprint));
        let subjects = chunks.flat_map(|chunk| &*chunk.entries).map(|(_, subject)| subject);
        subjects.filter(move |subject| wanted(subject.fingerprint()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks().map(|chunk| chunk.entries.len()).sum()
    }

    /// Whether nothing is isolated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.base.is_empty()
    }

    /// How an address is isolated; `None`: not at all.
    #[must_use]
    pub fn get(&self, address: &IpAddr) -> Option<&Subject> {
        let (_, chunk) = self.around(address)?;
        let place = chunk.entries.binary_search_by(|(other, _)| other.cmp(address)).ok()?;
        chunk.entries.get(place).map(|(_, subject)| subject)
    }

    /// Feeds the subjects: the digests of their chunks.
    pub(crate) fn identify(&self, encoded: &mut Encoded) {
        encoded.count(self.base.len());
        self.chunks().for_each(|chunk| encoded.identity(&chunk.digest));
    }

    /// The subjects after edits, which are in order and name each address once; `None`: not isolated any more. Costs the
    /// chunks that change; where addresses come or go, a reference to each of the others too.
    #[must_use]
    pub fn edited(&self, mut edits: impl AsMut<[Edit]>) -> Self {
        let edits = edits.as_mut();
        let same_addresses = edits.iter().all(|(at, edit)| edit.is_some() && self.get(at).is_some());
        if same_addresses { self.replaced(edits) } else { self.cut_anew(edits) }
    }

    /// The subjects after edits of addresses that are there. Takes the subjects out of the edits.
    fn replaced(&self, mut edits: &mut [Edit]) -> Self {
        let mut newer = Vec::with_capacity(self.newer.len() + edits.len());
        newer.extend_from_slice(&self.newer);
        while let Some((place, chunk)) = edits.first().and_then(|(first, _)| self.around(first)) {
            let here = edits.partition_point(|(address, _)| *address <= chunk.last);
            let (here, later) = edits.split_at_mut(here);
            let mut here = here.iter_mut().peekable();
            let entry = |(address, subject): &Entry| {
                let edit = here.next_if(|(other, _)| other == address).and_then(|(_, edit)| edit.take());
                (*address, edit.unwrap_or_else(|| subject.clone()))
            };
            let chunk = Chunk::new(chunk.entries.iter().map(entry).collect());
            newer.retain(|(other, _)| *other != place);
            newer.extend(chunk.map(|chunk| (place, chunk)));
            edits = later;
        }
        newer.sort_unstable_by_key(|(place, _)| *place);
        let edited = Self { base: Arc::clone(&self.base), newer: newer.into() };
        let few = edited.newer.len() <= LAID_OVER;
        if few { edited } else { Self { base: edited.chunks().cloned().collect(), newer: Box::default() } }
    }

    /// The subjects after any edits. Takes the subjects out of the edits.
    fn cut_anew(&self, edits: &mut [Edit]) -> Self {
        let chunks = Vec::with_capacity(self.base.len());
        let mut cutter = Cutter { chunks, open: Vec::new() };
        let mut edits = edits.iter_mut().peekable();
        for chunk in self.chunks() {
            let later = edits.peek().is_none_or(|(address, _)| *address > chunk.last);
            // The last chunk may end where the addresses do: what follows belongs into it.
            if cutter.open.is_empty() && later && (ends_chunk(&chunk.last) || edits.peek().is_none()) {
                cutter.chunks.push(chunk.clone());
                continue;
            }
            cutter.open.reserve(chunk.entries.len());
            for (address, subject) in &*chunk.entries {
                while let Some((new, edit)) = edits.next_if(|(new, _)| new < address) {
                    edit.take().into_iter().for_each(|subject| cutter.push((*new, subject)));
                }
                match edits.next_if(|(same, _)| same == address) {
                    Some((_, edit)) => {
                        edit.take().into_iter().for_each(|subject| cutter.push((*address, subject)));
                    }
                    None => cutter.push((*address, subject.clone())),
                }
            }
        }
        for (address, edit) in edits {
            edit.take().into_iter().for_each(|subject| cutter.push((*address, subject)));
        }
        cutter.finish()
    }

    /// The subjects of two nodes' chunks that they do not share, by address, in order. What is equal may be among them.
    pub(crate) fn unshared<'a>(
        &'a self,
        new: &'a Self,
    ) -> impl Iterator<Item = (IpAddr, Option<&'a Subject>, Option<&'a Subject>)> {
        let own = |all: &'a Self, others: &'a Self| {
            let shared =
                |chunk: &&Chunk| others.around(&chunk.last).is_some_and(|(_, other)| other.is(chunk));
            all.chunks().filter(move |chunk| !shared(chunk)).flat_map(|chunk| &*chunk.entries).peekable()
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
            let list: Vec<_> = edits
                .iter()
                .map(|(number, edit)| {
                    (entry((number, &false)).0, edit.map(|closed| entry((number, &closed)).1))
                })
                .collect();
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

    proptest::proptest! {
        #[test]
        fn chunks_that_are_laid_over_others_are_those_that_would_be_there(
            addresses in 1u8..60,
            history in proptest::collection::vec(
                proptest::collection::btree_map(0u8..60, proptest::bool::ANY, 1..4), 1..20),
        ) {
            let mut model: BTreeMap<u8, bool> = (0..addresses).map(|number| (number, false)).collect();
            let mut subjects: Subjects = model.iter().map(entry).collect();
            for edits in history {
                let known: BTreeMap<u8, bool> =
                    edits.into_iter().filter(|(number, _)| *number < addresses).collect();
                let before = subjects.clone();
                let edit = |it: (&u8, &bool)| (entry(it).0, Some(entry(it).1));
                subjects = before.edited(known.iter().map(edit).collect::<Vec<_>>());
                let differ: Vec<_> =
                    before.unshared(&subjects).filter(|(_, old, new)| old != new).map(|(at, ..)| at).collect();
                let expected = known.iter().filter(|(number, closed)| model.get(number) != Some(closed));
                proptest::prop_assert_eq!(differ, expected.map(|it| entry(it).0).collect::<Vec<_>>());
                model.extend(known);
                proptest::prop_assert_eq!(&subjects, &model.iter().map(entry).collect::<Subjects>());
                proptest::prop_assert!(subjects.newer.len() <= LAID_OVER);
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
            assert!((200..=320).contains(&subjects.base.len()), "{} chunks", subjects.base.len());
            let longest = subjects.base.iter().map(|chunk| chunk.entries.len()).max();
            assert!(longest < Some(40), "{longest:?}");
        }
    }
}
