//! Sets of pods. They stand beside the node's rules, so that a new member changes no rule set.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::identity::{Digest, Identify, Identity, Name};
use crate::members::{Member, Members};
use crate::object::{Peer, PodPeer, PortName};
use crate::port::Protocol;

/// Which pods, or destinations, are the members of a set. Its name derives from this, so it stays while members come
/// and go.
#[derive(Debug, PartialEq, Eq)]
pub struct SetDefinition {
    /// Tells it from other definitions.
    pub identity: Identity,
    /// The variable part of the sets' names.
    pub name: Name,
    /// Who is in it.
    pub rule: Membership,
}

impl From<Membership> for SetDefinition {
    fn from(rule: Membership) -> Self {
        let identity = rule.identity();
        Self { identity, name: Name::of(&identity), rule }
    }
}

/// Who is in a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Membership {
    /// The addresses of pods that one of these matches; ordered.
    Pods(Box<[Arc<PodPeer>]>),
    /// The addresses of pods with the ports that one of these says; ordered.
    Destinations(Box<[PeerPort]>),
}

/// Peers with ports of their own: which ones, and the ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerPort {
    /// `None`: any peer.
    pub peer: Option<Peer>,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports.
    pub port: DestinationPorts,
}

/// The ports that go with a peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DestinationPorts {
    /// Those of its container ports that have this name.
    Named(PortName),
    /// These, whatever it says.
    Numbers {
        /// The lowest one.
        first: u16,
        /// The highest one.
        last: u16,
    },
}

/// The members of a set as of one moment.
#[derive(Debug, PartialEq, Eq)]
pub struct AddressSet {
    /// Who is in it.
    pub definition: Arc<SetDefinition>,
    /// IPv4 members.
    pub v4: Members<Member<Ipv4Addr>>,
    /// IPv6 members.
    pub v6: Members<Member<Ipv6Addr>>,
    /// Tells it from sets of another name or with other members.
    pub digest: Identity,
}

impl AddressSet {
    /// A set with its digest.
    #[must_use]
    pub fn new(
        definition: Arc<SetDefinition>,
        v4: Members<Member<Ipv4Addr>>,
        v6: Members<Member<Ipv6Addr>>,
    ) -> Self {
        let mut digest = Digest::new();
        // The name stands for the rule, whose identity it is made of.
        digest.name(&definition.name);
        v4.identify(&mut digest);
        v6.identify(&mut digest);
        Self { definition, v4, v6, digest: digest.finish() }
    }
}
