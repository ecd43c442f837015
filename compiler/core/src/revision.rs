//! Revisions: the name of a node's state as a tree of digests, so that a change costs the branch that it is on.
//!
//! ```text
//! revision ─┬─ frame: families, subjects with the digests of their rule sets, hairpins, anchors
//!           └─ 16 buckets of sets, by the first digit of their names ── set: name ── chunks of members
//! ```
//!
//! Tenants choose what gets hashed, so every node is a SHA-256 of its children: sums of element hashes would be
//! cheaper, but who owns enough pods can find two states with one sum.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use std::sync::Arc;

use flock_shared::{Revision, ScriptHash};

use crate::identity::{Digest, Identity};
use crate::members::{Member, Members};
use crate::object::{Direction, HostInterface};
use crate::output::{Frame, Isolation, MemberSet, SetDefinition};

/// Raised when the same output is laid out or written in another way: replicas of different versions must not give
/// different tables the same revision.
pub const LAYOUT_VERSION: u8 = 2;

const BUCKETS: usize = 16;

/// The digests of a node's sets, in buckets by the first digit of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetTree([Identity; BUCKETS]);

fn bucket_of(set: &MemberSet) -> usize {
    // Four bits.
    usize::try_from(set.definition.name.short() >> 60).unwrap_or_default()
}

fn digest_of<'a>(sets: impl Iterator<Item = &'a Arc<MemberSet>>) -> Identity {
    let mut digest = Digest::new();
    sets.for_each(|set| digest.inner(&set.digest));
    digest.finish()
}

impl SetTree {
    /// The tree of sets that are ordered by name.
    pub(crate) fn of(sets: &[Arc<MemberSet>]) -> Self {
        Self(std::array::from_fn(|bucket| Self::bucket(sets, bucket)))
    }

    fn bucket(sets: &[Arc<MemberSet>], bucket: usize) -> Identity {
        let start = sets.partition_point(|set| bucket_of(set) < bucket);
        digest_of(sets.iter().skip(start).take_while(|set| bucket_of(set) == bucket))
    }

    /// Takes over that the set at `place` has changed.
    pub(crate) fn refresh(&mut self, sets: &[Arc<MemberSet>], place: usize) {
        let Some(bucket) = sets.get(place).map(|set| bucket_of(set)) else { return };
        if let Some(digest) = self.0.get_mut(bucket) {
            *digest = Self::bucket(sets, bucket);
        }
    }

    /// The revision of a frame with these sets.
    pub(crate) fn revision(&self, frame: &FrameDigest) -> Revision {
        let mut digest = Digest::new();
        digest.tag(LAYOUT_VERSION);
        digest.inner(&frame.0);
        self.0.iter().for_each(|bucket| digest.inner(bucket));
        Revision::of(ScriptHash::from_bytes(*digest.finish().as_bytes()))
    }
}

/// The digest of a set with its name.
pub(crate) fn of_set(
    definition: &SetDefinition,
    v4: &Members<Member<Ipv4Addr>>,
    v6: &Members<Member<Ipv6Addr>>,
) -> Identity {
    let mut digest = Digest::new();
    digest.name(&definition.name);
    v4.identify(&mut digest);
    v6.identify(&mut digest);
    digest.finish()
}

/// The digest of what a frame is laid out to; the names of pods are not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameDigest(Identity);

impl FrameDigest {
    pub(crate) fn of(frame: &Frame) -> Self {
        let mut digest = Digest::new();
        digest.tag(u8::from(frame.families.v4));
        digest.tag(u8::from(frame.families.v6));
        digest.count(frame.subjects.len());
        for (at, subject) in &frame.subjects {
            address(&mut digest, at);
            for direction in Direction::ALL {
                isolation(&mut digest, subject.isolation(direction));
            }
        }
        digest.count(frame.hairpins.len());
        for (source, destination) in &frame.hairpins {
            address(&mut digest, source);
            address(&mut digest, destination);
        }
        digest.count(frame.anchors.len());
        for (interface, addresses) in &frame.anchors {
            let (tag, name) = match interface {
                HostInterface::Computed(name) => (0, name),
                HostInterface::Claimed(name) => (1, name),
            };
            digest.tag(tag);
            digest.text(name.as_str());
            digest.count(addresses.len());
            addresses.iter().for_each(|at| address(&mut digest, at));
        }
        Self(digest.finish())
    }
}

fn isolation(digest: &mut Digest, isolation: &Isolation) {
    match isolation {
        Isolation::Open => digest.tag(0),
        Isolation::Closed => digest.tag(1),
        Isolation::Rules(rules) => {
            digest.tag(2);
            digest.inner(&rules.digest);
        }
        Isolation::All(several) => {
            digest.tag(3);
            digest.count(several.len());
            several.iter().for_each(|rules| digest.inner(&rules.digest));
        }
    }
}

/// An address, preceded by its family.
pub(crate) fn address(digest: &mut Digest, address: &IpAddr) {
    match address {
        IpAddr::V4(address) => {
            digest.tag(4);
            digest.bytes(&address.octets());
        }
        IpAddr::V6(address) => {
            digest.tag(6);
            digest.bytes(&address.octets());
        }
    }
}
