//! Revisions: the name of a node's state as a tree of digests, so that a change costs the branch that it is on.
//!
//! ```text
//! revision ─┬─ rules: families, source checks, chunks of isolated pods with the digests of their rule sets; where unready pods are
//!           │  isolated: pod CIDRs, chunks of known addresses, when they are closed; whether drops are taken down
//!           └─ 16 buckets of sets, by the first digit of their names ── set: name ── chunks of members
//! ```
//!
//! Tenants choose what gets hashed, so every node is a SHA-256 of its children: sums of element hashes would be
//! cheaper, but who owns enough pods can find two states with one sum.

use std::sync::Arc;

use flock_shared::{Revision, ScriptHash};
use smallvec::SmallVec;

use super::address_set::AddressSet;
use super::node_rules::NodeRulesDigest;
use crate::identity::{Digest, Identity, Name};

/// Raised when the same output is laid out or written in another way: replicas of different versions must not give
/// different tables the same revision.
pub const LAYOUT_VERSION: u8 = 9;

const BUCKETS: usize = 16;

/// The digests of a node's sets, in buckets by the first digit of their names. Cloning shares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetTree {
    root: Identity,
    buckets: Arc<[Identity; BUCKETS]>,
}

fn bucket_of(name: &Name) -> usize {
    // Four bits.
    usize::try_from(name.first() >> 60).unwrap_or_default()
}

fn digest_of<'a>(parts: impl Iterator<Item = &'a Identity>) -> Identity {
    let mut digest = Digest::new();
    parts.for_each(|part| digest.inner(part));
    digest.finish()
}

impl SetTree {
    /// The tree of sets that are ordered by name.
    pub(crate) fn of(sets: &[Arc<AddressSet>]) -> Self {
        Self::with(std::array::from_fn(|bucket| Self::bucket(sets, bucket)))
    }

    fn with(buckets: [Identity; BUCKETS]) -> Self {
        Self { root: digest_of(buckets.iter()), buckets: Arc::new(buckets) }
    }

    fn bucket(sets: &[Arc<AddressSet>], bucket: usize) -> Identity {
        let of = |set: &Arc<AddressSet>| bucket_of(&set.definition.name);
        // Sets are ordered by name, and the bucket is the name's first digit: those of one stand together.
        let start = sets.partition_point(|set| of(set) < bucket);
        digest_of(sets.iter().skip(start).take_while(|set| of(set) == bucket).map(|set| &set.digest))
    }

    /// The tree once the sets of these names have changed, come or gone.
    #[must_use]
    pub(crate) fn refreshed<'a>(
        &self,
        sets: &[Arc<AddressSet>],
        names: impl IntoIterator<Item = &'a Name>,
    ) -> Self {
        let mut buckets = *self.buckets;
        let mut done: SmallVec<[usize; 4]> = SmallVec::new();
        for bucket in names.into_iter().map(bucket_of) {
            if !done.contains(&bucket)
                && let Some(digest) = buckets.get_mut(bucket)
            {
                *digest = Self::bucket(sets, bucket);
                done.push(bucket);
            }
        }
        Self::with(buckets)
    }

    /// The revision of a node's rules with these sets.
    pub(crate) fn revision(&self, node_rules: &NodeRulesDigest) -> Revision {
        let mut digest = Digest::new();
        digest.tag(LAYOUT_VERSION);
        digest.inner(&node_rules.0);
        digest.inner(&self.root);
        Revision::of(ScriptHash::from_bytes(*digest.finish().as_bytes()))
    }

    /// The revision of a closed node's rules: never that of a normal one.
    pub(crate) fn closed_revision(&self, node_rules: &NodeRulesDigest) -> Revision {
        let mut digest = Digest::new();
        digest.tag(LAYOUT_VERSION);
        digest.text("closed");
        digest.inner(&node_rules.0);
        digest.inner(&self.root);
        Revision::of(ScriptHash::from_bytes(*digest.finish().as_bytes()))
    }
}
