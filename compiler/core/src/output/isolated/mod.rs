//! The isolated addresses of a node: ordered, persistent, with digests that cost what a change costs.
//!
//! They lie in chunks of about four. Where a chunk ends depends on the addresses alone, so equal isolated have equal
//! chunks however they came to be. What a policy changes of a few isolated is laid over the chunks: to copy one and to
//! count a reference to each of the others would be to fetch all of them from memory.

mod chunk;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use chunk::{Chunk, Cutter, Entry, digest_of, ends_chunk};

use super::node_rules::IsolatedPod;
use super::rule_set::Fingerprint;
use crate::collections::prefetch;
use crate::identity::{Digest, Identity};
use crate::invariant::bug;

/// Isolated addresses with how they are isolated, in order. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct IsolatedPods {
    chunks: Arc<[Chunk]>,
    /// IsolatedPods that stand in the place of those of the chunks. At most [`LAID_OVER`].
    newer: Box<[Newer]>,
}

/// Beyond so many the chunks are put together anew. What is laid over is kept until then.
const LAID_OVER: usize = 4;

type IsolationEdit = (IpAddr, Option<IsolatedPod>);

/// A pod that stands in the place of another one with its address.
#[derive(Debug, Clone)]
struct Newer {
    entry: Entry,
    /// Its chunk.
    place: usize,
    /// The digest of that with all that is newer in it.
    digest: Identity,
}

/// Equal isolated pods, wherever they lie.
impl PartialEq for IsolatedPods {
    fn eq(&self, other: &Self) -> bool {
        let shared = Arc::ptr_eq(&self.chunks, &other.chunks);
        shared && self.newer.is_empty() && other.newer.is_empty() || self.iter().eq(other.iter())
    }
}

impl Eq for IsolatedPods {}

/// The entries of a chunk, those that are newer in their places.
fn laid_over<'a>(chunk: &'a Chunk, newer: &'a [Newer]) -> impl Iterator<Item = &'a Entry> + Clone {
    chunk.entries.iter().map(|entry| {
        let newer = newer.iter().find(|newer| newer.entry.0 == entry.0);
        newer.map_or(entry, |newer| &newer.entry)
    })
}

impl IsolatedPods {
    /// The addresses and how they are isolated, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&IpAddr, &IsolatedPod)> + Clone {
        let entries = self.chunks.iter().flat_map(|chunk| laid_over(chunk, &self.newer));
        entries.map(|(address, pod)| (address, pod))
    }

    /// How the addresses are isolated, in their order.
    pub fn values(&self) -> impl Iterator<Item = &IsolatedPod> {
        self.iter().map(|(_, pod)| pod)
    }

    /// Those whose fingerprints are as wanted, in no order. A union must be wanted where one of its parts is.
    pub(crate) fn matching(
        &self,
        wanted: impl Fn(Fingerprint) -> bool + Copy,
    ) -> impl Iterator<Item = &IsolatedPod> {
        let chunks = self.chunks.iter().filter(move |chunk| wanted(chunk.fingerprint));
        let older = chunks.flat_map(|chunk| &*chunk.entries).filter(|(at, _)| self.newer(at).is_none());
        // A chunk's fingerprint is that of its own entries, so what is laid over it is asked by itself.
        let newer = self.newer.iter().map(|newer| &newer.entry);
        older.chain(newer).map(|(_, pod)| pod).filter(move |pod| wanted(pod.fingerprint()))
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
    pub fn get(&self, address: &IpAddr) -> Option<&IsolatedPod> {
        let entry = self.newer(address).map(|newer| &newer.entry).or_else(|| {
            let (_, chunk) = self.around(address)?;
            let place = chunk.entries.binary_search_by(|(other, _)| other.cmp(address)).ok()?;
            chunk.entries.get(place)
        });
        entry.map(|(_, pod)| pod)
    }

    fn newer(&self, address: &IpAddr) -> Option<&Newer> {
        self.newer.iter().find(|newer| newer.entry.0 == *address)
    }

    /// The chunk in which an address is, if it is anywhere, and its place.
    fn around(&self, address: &IpAddr) -> Option<(usize, &Chunk)> {
        let place = self.chunks.partition_point(|chunk| chunk.last < *address);
        self.chunks.get(place).map(|chunk| (place, chunk))
    }

    /// Asks for what an edit reads of all chunks.
    pub(crate) fn prefetch(&self) {
        prefetch::read(self.chunks.iter().map(|chunk| chunk.last.is_ipv4()));
        prefetch::read(self.newer.iter().map(|newer| newer.place as u64));
    }

    /// Whether anything in the chunk at a place is newer than its entries.
    fn is_laid_over(&self, place: usize) -> bool {
        self.newer.iter().any(|newer| newer.place == place)
    }

    /// Feeds the isolated pods: the digests of their chunks.
    pub(crate) fn identify(&self, digest: &mut Digest) {
        digest.count(self.chunks.len());
        for (place, chunk) in self.chunks.iter().enumerate() {
            // Any of those over the chunk: each has the digest with all of them.
            let newer = self.newer.iter().find(|newer| newer.place == place);
            digest.inner(newer.map_or(&chunk.digest, |newer| &newer.digest));
        }
    }

    /// The isolated pods after edits, which are in order and name each address once; `None`: not isolated any more. Costs
    /// what changes; where addresses come or go, or too much would be laid over, a reference to each chunk too.
    #[must_use]
    pub fn edited(&self, mut edits: impl AsMut<[IsolationEdit]>) -> Self {
        let edits = edits.as_mut();
        let same_addresses = edits.iter().all(|(at, edit)| edit.is_some() && self.get(at).is_some());
        let few = self.staying(edits).count() + edits.len() <= LAID_OVER;
        if same_addresses && few { self.replaced(edits) } else { self.cut_anew(edits) }
    }

    /// What is laid over the chunks and not edited.
    fn staying<'a>(&'a self, edits: &'a [IsolationEdit]) -> impl Iterator<Item = &'a Newer> {
        self.newer.iter().filter(|newer| edits.iter().all(|(address, _)| *address != newer.entry.0))
    }

    /// The isolated pods after edits of addresses that are there. Takes the isolated pods out of the edits.
    fn replaced(&self, edits: &mut [IsolationEdit]) -> Self {
        let mut newer = Vec::with_capacity(self.newer.len() + edits.len());
        newer.extend(self.staying(edits).cloned());
        let kept = newer.len();
        for (address, edit) in edits {
            let Some(((place, chunk), pod)) = self.around(address).zip(edit.take()) else {
                // Left out, it would keep the isolation that it had.
                bug!("{address} is edited in its place, and has none or goes");
                continue;
            };
            // The digest is that of the chunk with all that is laid over it, so it is made when all are known.
            newer.push(Newer { entry: (*address, pod), place, digest: chunk.digest });
        }
        // Chunks without an edit have nothing newer than before, and keep their digests.
        let mut places: SmallVec<[usize; LAID_OVER]> =
            newer.iter().skip(kept).map(|newer| newer.place).collect();
        // Edits are in order.
        places.dedup();
        for place in places {
            let Some(chunk) = self.chunks.get(place) else { continue };
            let digest = digest_of(laid_over(chunk, &newer));
            newer.iter_mut().filter(|newer| newer.place == place).for_each(|newer| newer.digest = digest);
        }
        Self { chunks: Arc::clone(&self.chunks), newer: newer.into() }
    }

    /// The isolated pods after any edits. Takes the isolated pods out of the edits.
    fn cut_anew(&self, edits: &mut [IsolationEdit]) -> Self {
        let mut cutter = Cutter::with_capacity(self.chunks.len());
        let mut edits = edits.iter_mut().peekable();
        for (place, chunk) in self.chunks.iter().enumerate() {
            let later = edits.peek().is_none_or(|(address, _)| *address > chunk.last);
            // The last chunk may end where the addresses do: what follows belongs into it.
            let ends = ends_chunk(&chunk.last) || edits.peek().is_none();
            // It is kept between two chunks only: otherwise its first entries belong into the one that is still open.
            if cutter.is_between() && later && ends && !self.is_laid_over(place) {
                cutter.keep(chunk);
                continue;
            }
            for (address, pod) in laid_over(chunk, &self.newer) {
                while let Some((new, edit)) = edits.next_if(|(new, _)| new < address) {
                    edit.take().into_iter().for_each(|pod| cutter.push((*new, pod)));
                }
                match edits.next_if(|(same, _)| same == address) {
                    Some((_, edit)) => {
                        edit.take().into_iter().for_each(|pod| cutter.push((*address, pod)));
                    }
                    None => cutter.push((*address, pod.clone())),
                }
            }
        }
        for (address, edit) in edits {
            edit.take().into_iter().for_each(|pod| cutter.push((*address, pod)));
        }
        Self { chunks: cutter.finish(), newer: Box::default() }
    }

    /// The isolated pods of two nodes' chunks that they do not share, by address, in order. What is equal may be among them.
    pub(crate) fn unshared<'a>(
        &'a self,
        new: &'a Self,
    ) -> impl Iterator<Item = (IpAddr, Option<&'a IsolatedPod>, Option<&'a IsolatedPod>)> {
        let own = |all: &'a Self, others: &'a Self| {
            let shared = |place: usize, chunk: &Chunk| {
                let other = others.around(&chunk.last).filter(|(_, other)| other.is(chunk));
                other.is_some_and(|(other, _)| !all.is_laid_over(place) && !others.is_laid_over(other))
            };
            let unshared = all.chunks.iter().enumerate().filter(move |(place, chunk)| !shared(*place, chunk));
            unshared.flat_map(|(_, chunk)| laid_over(chunk, &all.newer)).peekable()
        };
        let (mut before, mut after) = (own(self, new), own(new, self));
        std::iter::from_fn(move || {
            let next =
                [before.peek().map(|(address, _)| *address), after.peek().map(|(address, _)| *address)];
            let address = next.into_iter().flatten().min()?;
            let old = before.next_if(|(other, _)| *other == address);
            let new = after.next_if(|(other, _)| *other == address);
            Some((address, old.map(|(_, pod)| pod), new.map(|(_, pod)| pod)))
        })
    }
}

impl FromIterator<Entry> for IsolatedPods {
    /// One of an address is enough: they are equal.
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut entries: Vec<Entry> = entries.into_iter().collect();
        entries.sort_unstable_by_key(|(address, _)| *address);
        entries.dedup_by(|(a, _), (b, _)| a == b);
        let mut cutter = Cutter::default();
        entries.into_iter().for_each(|entry| cutter.push(entry));
        Self { chunks: cutter.finish(), newer: Box::default() }
    }
}

impl std::ops::Index<&IpAddr> for IsolatedPods {
    type Output = IsolatedPod;

    /// How an address is isolated.
    ///
    /// # Panics
    /// If it is not.
    fn index(&self, address: &IpAddr) -> &IsolatedPod {
        self.get(address).unwrap_or_else(|| panic!("{address} is not isolated"))
    }
}
