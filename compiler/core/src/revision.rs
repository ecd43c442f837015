//! Revisions: the name of a node's state as a tree of digests, so that a change costs the branch that it is on.
//!
//! ```text
//! revision ─┬─ frame: families, anchors, chunks of subjects with the digests of their rule sets; where unready pods are
//!           │  isolated: pod CIDRs, chunks of known addresses, when they are closed
//!           └─ 16 buckets of sets, by the first digit of their names ── set: name ── chunks of members
//! ```
//!
//! Tenants choose what gets hashed, so every node is a SHA-256 of its children: sums of element hashes would be
//! cheaper, but who owns enough pods can find two states with one sum.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use std::sync::Arc;

use flock_shared::{Revision, ScriptHash};
use smallvec::SmallVec;

use crate::identity::{Digest, Identity, Name};
use crate::members::{Member, Members};
use crate::object::{Direction, HostInterface};
use crate::output::{Closing, Frame, Links, MemberSet, SetDefinition, Unready};

/// Raised when the same output is laid out or written in another way: replicas of different versions must not give
/// different tables the same revision.
pub const LAYOUT_VERSION: u8 = 7;

const BUCKETS: usize = 16;

/// The digests of a node's sets, in buckets by the first digit of their names. Cloning shares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetTree {
    root: Identity,
    buckets: Arc<[Identity; BUCKETS]>,
}

fn bucket_of(name: &Name) -> usize {
    // Four bits.
    usize::try_from(name.short() >> 60).unwrap_or_default()
}

fn digest_of<'a>(parts: impl Iterator<Item = &'a Identity>) -> Identity {
    let mut encoded = Encoded::default();
    parts.for_each(|part| encoded.identity(part));
    encoded.finish()
}

impl SetTree {
    /// The tree of sets that are ordered by name.
    pub(crate) fn of(sets: &[Arc<MemberSet>]) -> Self {
        Self::with(std::array::from_fn(|bucket| Self::bucket(sets, bucket)))
    }

    fn with(buckets: [Identity; BUCKETS]) -> Self {
        Self { root: digest_of(buckets.iter()), buckets: Arc::new(buckets) }
    }

    fn bucket(sets: &[Arc<MemberSet>], bucket: usize) -> Identity {
        let of = |set: &Arc<MemberSet>| bucket_of(&set.definition.name);
        let start = sets.partition_point(|set| of(set) < bucket);
        digest_of(sets.iter().skip(start).take_while(|set| of(set) == bucket).map(|set| &set.digest))
    }

    /// The tree once the sets of these names have changed, come or gone.
    #[must_use]
    pub(crate) fn refreshed<'a>(
        &self,
        sets: &[Arc<MemberSet>],
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

    /// The revision of a frame with these sets.
    pub(crate) fn revision(&self, frame: &FrameDigest) -> Revision {
        let mut digest = Digest::new();
        digest.tag(LAYOUT_VERSION);
        digest.inner(&frame.0);
        digest.inner(&self.root);
        Revision::of(ScriptHash::from_bytes(*digest.finish().as_bytes()))
    }
}

impl SetTree {
    /// The revision of a closed frame: never that of a normal one.
    pub(crate) fn closed_revision(&self, frame: &FrameDigest) -> Revision {
        let mut digest = Digest::new();
        digest.tag(LAYOUT_VERSION);
        digest.text("closed");
        digest.inner(&frame.0);
        digest.inner(&self.root);
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

/// The digest of what guards unready pods.
fn of_unready(unready: &Unready) -> Identity {
    let mut digest = Digest::new();
    digest.count(unready.cidrs.len());
    for cidr in &unready.cidrs {
        address(&mut digest, &cidr.first());
        digest.tag(cidr.prefix());
    }
    unready.known4.identify(&mut digest);
    unready.known6.identify(&mut digest);
    // Behind all else, so that what is always closed has the digest that it had before there was anything else.
    match unready.closing {
        Closing::Always => {}
        Closing::Expecting(_) => {
            for direction in Direction::ALL {
                digest.tag(u8::from(unready.closing.is_closed(direction)));
            }
        }
    }
    digest.finish()
}

/// The digest of the node's links.
fn of_links(links: &Links) -> Identity {
    let mut digest = Digest::new();
    for names in [&links.pod_bridges, &links.other_ports, &links.uplinks] {
        digest.count(names.len());
        names.iter().for_each(|name| digest.text(name.as_str()));
    }
    digest.count(links.pod_addresses.len());
    links.pod_addresses.iter().for_each(|at| address(&mut digest, at));
    digest.count(links.pod_cidrs.len());
    for cidr in &links.pod_cidrs {
        address(&mut digest, &cidr.first());
        digest.tag(cidr.prefix());
    }
    digest.count(links.tunnel_ports.len());
    for port in &links.tunnel_ports {
        digest.bytes(&port.to_be_bytes());
    }
    digest.inner(links.node_addresses.digest());
    digest.finish()
}

/// The digest of what a frame is laid out to; the names of pods are not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameDigest(Identity);

impl FrameDigest {
    pub(crate) fn of(frame: &Frame) -> Self {
        let mut encoded = Encoded::default();
        encoded.tag(u8::from(frame.families.v4));
        encoded.tag(u8::from(frame.families.v6));
        encoded.count(frame.anchors.len());
        for (interface, addresses) in &*frame.anchors {
            let (tag, name) = match interface {
                HostInterface::Computed(name) => (0, name),
                HostInterface::Claimed(name) => (1, name),
            };
            encoded.tag(tag);
            encoded.text(name.as_str());
            encoded.count(addresses.len());
            addresses.iter().for_each(|at| encoded.address(at));
        }
        frame.subjects.identify(&mut encoded);
        if let Some(unready) = &frame.unready {
            encoded.identity(&of_unready(unready));
        }
        if *frame.links != Links::default() {
            encoded.identity(&of_links(&frame.links));
        }
        Self(encoded.finish())
    }
}

/// Values as bytes, which are hashed many at a time: short pieces take longer to feed than to hash.
#[derive(Default)]
pub(crate) struct Encoded {
    digest: Digest,
    pending: SmallVec<[u8; Self::AT_ONCE]>,
}

impl Encoded {
    const AT_ONCE: usize = 1024;

    fn bytes(&mut self, bytes: &[u8]) {
        if self.pending.len() + bytes.len() > Self::AT_ONCE {
            self.flush();
        }
        self.pending.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        self.digest.bytes(&self.pending);
        self.pending.clear();
    }

    pub(crate) fn tag(&mut self, tag: u8) {
        self.bytes(&[tag]);
    }

    pub(crate) fn count(&mut self, count: usize) {
        // A node has fewer pods than four billion.
        self.bytes(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes(text.as_bytes());
    }

    pub(crate) fn address(&mut self, address: &IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.tag(4);
                self.bytes(&address.octets());
            }
            IpAddr::V6(address) => {
                self.tag(6);
                self.bytes(&address.octets());
            }
        }
    }

    pub(crate) fn identity(&mut self, identity: &Identity) {
        self.bytes(identity.as_bytes());
    }

    pub(crate) fn finish(mut self) -> Identity {
        self.flush();
        self.digest.finish()
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
