//! Sets of pods. They stand beside the frame, so that a new member changes no rule set.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::identity::{Identity, Name};
use crate::members::{Member, Members};
use crate::object::{Peer, PodPeer, PortName};
use crate::port::Protocol;

/// Which pods, or destinations, are the members of a set. Its name derives from this, so it stays while members come
/// and go.
#[derive(Debug, PartialEq, Eq)]
pub struct SetDefinition {
    /// The variable part of the sets' names.
    pub name: Name,
    /// Who is in it.
    pub rule: Membership,
}

/// Who is in a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Membership {
    /// The addresses of pods that one of these matches; ordered.
    Pods(Box<[Arc<PodPeer>]>),
    /// The addresses of pods with the ports that one of these names; ordered.
    Destinations(Box<[NamedDestination]>),
}

/// Destinations by the name of their port: which ones, and the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedDestination {
    /// `None`: any destination.
    pub peer: Option<Peer>,
    /// The protocol that the container port must have.
    pub protocol: Protocol,
    /// The port's name.
    pub name: PortName,
}

/// The members of a set as of one moment.
#[derive(Debug, PartialEq, Eq)]
pub struct MemberSet {
    /// Who is in it.
    pub definition: Arc<SetDefinition>,
    /// IPv4 members.
    pub v4: Members<Member<Ipv4Addr>>,
    /// IPv6 members.
    pub v6: Members<Member<Ipv6Addr>>,
    /// Tells it from sets of another name or with other members.
    pub digest: Identity,
    /// At most so many bytes its elements take in a script.
    pub script_bytes: usize,
}

impl MemberSet {
    /// A set with its digest.
    #[must_use]
    pub fn new(
        definition: Arc<SetDefinition>,
        v4: Members<Member<Ipv4Addr>>,
        v6: Members<Member<Ipv6Addr>>,
    ) -> Self {
        let digest = crate::revision::of_set(&definition, &v4, &v6);
        let port = match definition.rule {
            Membership::Pods(_) => 0,
            Membership::Destinations(_) => " . sctp . 65535".len(),
        };
        let lengths = [(v4.len(), "255.255.255.255"), (v6.len(), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")];
        let bytes = lengths.map(|(count, longest)| count * (longest.len() + port + ", ".len()));
        let script_bytes = bytes.iter().sum();
        Self { definition, v4, v6, digest, script_bytes }
    }
}
