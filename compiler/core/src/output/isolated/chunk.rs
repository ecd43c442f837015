//! Chunks of isolated addresses: where they end depends on the addresses alone.

use std::hash::Hasher as _;
use std::net::IpAddr;
use std::sync::Arc;

use crate::identity::{Digest, Identity};
use crate::output::node_rules::{IsolatedPod, Isolation};
use crate::output::rule_set::Fingerprint;

/// An isolated address.
pub(super) type Entry = (IpAddr, IsolatedPod);

/// What finding and keeping a chunk takes stands beside the others', apart from its entries.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) last: IpAddr,
    pub(super) digest: Identity,
    pub(super) fingerprint: Fingerprint,
    pub(super) entries: Arc<[Entry]>,
}

/// A chunk ends after an address whose hash has these bits clear: one in four. The higher bits of FNV-1a depend little on
/// the end of an input as short as an address.
const BOUNDARY: u64 = 3;

/// Whether a chunk ends after an address, wherever it stands.
pub(super) fn ends_chunk(address: &IpAddr) -> bool {
    // Not keyed, unlike those of lookup tables: chunks are part of the revision, which has to be equal on every replica.
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
        let digest = digest_of(entries.iter());
        let prints = entries.iter().map(|(_, pod)| pod.fingerprint());
        let fingerprint = prints.fold(Fingerprint::default(), Fingerprint::union);
        Some(Self { last, digest, fingerprint, entries })
    }

    /// Whether both are the very same.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entries, &other.entries)
    }
}

/// The digest of a chunk with these entries.
pub(super) fn digest_of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Identity {
    let mut digest = Digest::new();
    for (address, pod) in entries {
        digest.address(address);
        for isolation in [&pod.ingress, &pod.egress] {
            match isolation {
                Isolation::Open => digest.tag(0),
                Isolation::Closed => digest.tag(1),
                Isolation::Rules(rules) => {
                    digest.tag(2);
                    digest.inner(&rules.identity);
                }
                Isolation::All(several) => {
                    digest.tag(3);
                    digest.count(several.len());
                    several.iter().for_each(|rules| digest.inner(&rules.identity));
                }
            }
        }
        digest.count(pod.siblings.len());
        pod.siblings.iter().for_each(|sibling| digest.address(sibling));
    }
    digest.finish()
}

/// Cuts ordered entries into chunks.
#[derive(Default)]
pub(super) struct Cutter {
    chunks: Vec<Chunk>,
    open: Vec<Entry>,
}

impl Cutter {
    /// One with room for so many chunks.
    pub(super) fn with_capacity(chunks: usize) -> Self {
        // Twice of what a chunk mostly holds.
        Self { chunks: Vec::with_capacity(chunks), open: Vec::with_capacity(8) }
    }

    /// Adds a chunk as it is, between two others.
    pub(super) fn keep(&mut self, chunk: &Chunk) {
        self.chunks.push(chunk.clone());
    }

    /// Whether the last chunk has ended.
    pub(super) const fn is_between(&self) -> bool {
        self.open.is_empty()
    }

    /// Adds an entry behind all others.
    pub(super) fn push(&mut self, entry: Entry) {
        let ends = ends_chunk(&entry.0);
        self.open.push(entry);
        if ends {
            self.close();
        }
    }

    fn close(&mut self) {
        self.chunks.extend(Chunk::new(self.open.drain(..).collect()));
    }

    /// The chunks.
    pub(super) fn finish(mut self) -> Arc<[Chunk]> {
        self.close();
        self.chunks.into()
    }
}
