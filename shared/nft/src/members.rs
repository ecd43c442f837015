//! The members of a set: ordered, persistent, with a digest that costs what a change costs.
//!
//! Elements lie in chunks of about 256. Where a chunk ends depends on the elements alone, so equal sets have equal
//! chunks however they came to be. A changed set shares the other chunks with the set before it.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hasher as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::identity::{Digest, Identity};
use crate::port::Protocol;

/// A port of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// An element of a set of pods: an address, in a set of destinations with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member<A> {
    /// The pod's address.
    pub address: A,
    /// The port, if the set is one of destinations.
    pub service: Option<Service>,
}

/// What chunks are made of.
pub trait SetElement: Copy + Ord + Debug {
    /// The element as bytes of fixed length.
    fn encode(&self, out: &mut impl FnMut(&[u8]));
}

fn encode_service(service: Option<Service>, out: &mut impl FnMut(&[u8])) {
    // No protocol has this number, so a member without a port is encoded as no other one.
    let (protocol, port) = service.map_or((u8::MAX, 0), |service| (service.protocol as u8, service.port));
    let [high, low] = port.to_be_bytes();
    out(&[protocol, high, low]);
}

impl SetElement for Member<Ipv4Addr> {
    fn encode(&self, out: &mut impl FnMut(&[u8])) {
        out(&self.address.octets());
        encode_service(self.service, out);
    }
}

impl SetElement for Member<Ipv6Addr> {
    fn encode(&self, out: &mut impl FnMut(&[u8])) {
        out(&self.address.octets());
        encode_service(self.service, out);
    }
}

/// A chunk ends after an element whose hash has these bits clear: one in 256.
const BOUNDARY: u64 = 0xff << 32;

fn ends_chunk<T: SetElement>(element: &T) -> bool {
    // Not keyed: chunks are part of revisions, which have to be equal on every replica.
    let mut hasher = fnv::FnvHasher::default();
    element.encode(&mut |bytes| hasher.write(bytes));
    hasher.finish() & BOUNDARY == 0
}

#[derive(Debug, PartialEq, Eq)]
struct Chunk<T> {
    digest: Identity,
    elements: Box<[T]>,
}

impl<T: SetElement> Chunk<T> {
    fn new(elements: &[T]) -> Arc<Self> {
        let mut digest = Digest::new();
        elements.iter().for_each(|element| element.encode(&mut |part| digest.bytes(part)));
        Arc::new(Self { digest: digest.finish(), elements: elements.into() })
    }

    fn last(&self) -> Option<&T> {
        self.elements.last()
    }
}

/// An ordered set. Cloning shares the elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members<T> {
    chunks: Chunks<T>,
}

/// Most sets have one chunk.
type Chunks<T> = SmallVec<[Arc<Chunk<T>>; 1]>;

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self { chunks: Chunks::new() }
    }
}

/// Cuts a stream of ordered elements into chunks.
struct Cutter<T> {
    chunks: Chunks<T>,
    open: Vec<T>,
}

impl<T: SetElement> Cutter<T> {
    fn push(&mut self, element: T) {
        self.open.push(element);
        if ends_chunk(&element) {
            self.close();
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.chunks.push(Chunk::new(&self.open));
            self.open.clear();
        }
    }

    fn finish(mut self) -> Members<T> {
        self.close();
        // Sets are kept for long, and room was made for one chunk more than there were.
        self.chunks.shrink_to_fit();
        Members { chunks: self.chunks }
    }
}

/// What an element becomes: there, or not there.
pub type MemberEdit<T> = (T, bool);

/// Elements that a set lost and gained, each in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes<T> {
    /// Lost.
    pub removed: Vec<T>,
    /// Gained.
    pub added: Vec<T>,
}

impl<T> Changes<T> {
    /// Whether the set is as it was.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }
}

impl<T: SetElement> Members<T> {
    /// The elements, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| &chunk.elements)
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.elements.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether `element` is there.
    #[must_use]
    pub fn contains(&self, element: &T) -> bool {
        let place = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last < element));
        self.chunks.get(place).is_some_and(|chunk| chunk.elements.binary_search(element).is_ok())
    }

    /// Feeds the set: the digests of its chunks.
    pub fn identify(&self, digest: &mut Digest) {
        digest.count(self.chunks.len());
        self.chunks.iter().for_each(|chunk| digest.inner(&chunk.digest));
    }

    /// The set after edits, which are ordered and name each element once. Costs a pointer a chunk, and the chunks
    /// that change.
    #[must_use]
    pub fn edited(&self, edits: &[MemberEdit<T>]) -> Self {
        let mut cutter = Cutter { chunks: Chunks::with_capacity(self.chunks.len() + 1), open: Vec::new() };
        let mut edits = edits.iter().peekable();
        for chunk in &self.chunks {
            let Some(last) = chunk.last() else { continue };
            let later = edits.peek().is_none_or(|(element, _)| element > last);
            // The last chunk may end where the elements do: what follows belongs into it.
            // It is kept between two chunks only: otherwise its first elements belong into the one that is still open.
            if cutter.open.is_empty() && later && (ends_chunk(last) || edits.peek().is_none()) {
                cutter.chunks.push(Arc::clone(chunk));
                continue;
            }
            for element in &chunk.elements {
                while let Some((new, present)) = edits.next_if(|(new, _)| new < element) {
                    if *present {
                        cutter.push(*new);
                    }
                }
                match edits.next_if(|(same, _)| same == element) {
                    Some((_, false)) => {}
                    Some((_, true)) | None => cutter.push(*element),
                }
            }
        }
        edits.filter(|(_, present)| *present).for_each(|(element, _)| cutter.push(*element));
        cutter.finish()
    }

    /// What `self` lost and gained compared with `before`. Chunks that both share are not looked at.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Changes<T> {
        let own = |members: &Self, other: &Self| -> Vec<T> {
            // By pointer. Equal chunks that were made apart cost a comparison of their elements, and no more.
            let shared: HashSet<*const Chunk<T>> = other.chunks.iter().map(Arc::as_ptr).collect();
            let own = members.chunks.iter().filter(|chunk| !shared.contains(&Arc::as_ptr(chunk)));
            own.flat_map(|chunk| chunk.elements.iter().copied()).collect()
        };
        let (old, new) = (own(before, self), own(self, before));
        // Chunks that differ hold elements that both sets have.
        let without = |all: &[T], others: &[T]| -> Vec<T> {
            all.iter().filter(|element| others.binary_search(element).is_err()).copied().collect()
        };
        Changes { removed: without(&old, &new), added: without(&new, &old) }
    }
}

impl<T: SetElement> FromIterator<T> for Members<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut elements: Vec<T> = elements.into_iter().collect();
        elements.sort_unstable();
        elements.dedup();
        Self { chunks: elements.split_inclusive(ends_chunk).map(Chunk::new).collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn member(number: u32) -> Member<Ipv4Addr> {
        Member { address: Ipv4Addr::from(number), service: None }
    }

    proptest::proptest! {
        #[test]
        fn edits_lead_to_the_set_that_is_built_at_once(
            first in proptest::collection::btree_set(0u32..3000, 0..2500),
            edits in proptest::collection::btree_map(0u32..3000, proptest::bool::ANY, 0..60),
        ) {
            let before: Members<_> = first.iter().map(|number| member(*number)).collect();
            let mut model: BTreeSet<u32> = first.clone();
            for (number, present) in &edits {
                if *present { model.insert(*number) } else { model.remove(number) };
            }
            let list: Vec<_> = edits.iter().map(|(number, present)| (member(*number), *present)).collect();
            let after = before.edited(&list);
            let at_once: Members<_> = model.iter().map(|number| member(*number)).collect();
            proptest::prop_assert_eq!(&after, &at_once);
            proptest::prop_assert_eq!(after.len(), model.len());
            let changes = after.changes_since(&before);
            proptest::prop_assert!(changes.removed.iter().copied().eq(first.difference(&model).map(|n| member(*n))));
            proptest::prop_assert!(changes.added.iter().copied().eq(model.difference(&first).map(|n| member(*n))));
            for number in edits.keys() {
                proptest::prop_assert_eq!(after.contains(&member(*number)), model.contains(number));
            }
        }
    }

    #[test]
    fn one_edit_copies_few_of_many_chunks() {
        let before: Members<_> = (0..100_000).map(|number| member(number * 2)).collect();
        assert!((200..800).contains(&before.chunks.len()), "{} chunks", before.chunks.len());
        let after = before.edited(&[(member(77_777), true)]);
        let shared: BTreeMap<_, ()> = before.chunks.iter().map(|chunk| (Arc::as_ptr(chunk), ())).collect();
        let copied = after.chunks.iter().filter(|chunk| !shared.contains_key(&Arc::as_ptr(chunk))).count();
        assert!(copied <= 2, "{copied}");
    }

    #[test]
    fn ports_are_part_of_an_element() {
        let with = |port| Member {
            address: Ipv4Addr::LOCALHOST,
            service: Some(Service { protocol: Protocol::Tcp, port }),
        };
        let of = |members: Members<Member<Ipv4Addr>>| {
            let mut digest = Digest::new();
            members.identify(&mut digest);
            digest.finish()
        };
        let digests: BTreeSet<Identity> = [
            of([with(1)].into_iter().collect()),
            of([with(2)].into_iter().collect()),
            of([Member { address: Ipv4Addr::LOCALHOST, service: None }].into_iter().collect()),
        ]
        .into();
        assert_eq!(digests.len(), 3);
    }
}
