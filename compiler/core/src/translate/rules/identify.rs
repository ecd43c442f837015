//! What makes rule sets, and what they refer to, the same: the encoding that identities, and so names, are made of.

use crate::identity::{Digest, Identify};
use crate::label::{Operator, Requirement, Selector};
use crate::object::{NamespaceScope, Peer, PodPeer};
use crate::output::{DestinationPorts, Membership, PeerPort};
use crate::translate::rules::merge::PeerUnion;

impl Identify for Requirement {
    fn identify(&self, digest: &mut Digest) {
        digest.text(&self.key);
        let (tag, values) = match &self.operator {
            Operator::In(values) => (0, Some(values)),
            Operator::NotIn(values) => (1, Some(values)),
            Operator::Exists => (2, None),
            Operator::DoesNotExist => (3, None),
        };
        digest.tag(tag);
        if let Some(values) = values {
            // Tenants choose keys and values: without the count one could pass for the other.
            digest.count(values.len());
            values.iter().for_each(|value| digest.text(value));
        }
    }
}

impl Identify for Selector {
    fn identify(&self, digest: &mut Digest) {
        digest.each(self.requirements());
    }
}

impl Identify for PodPeer {
    fn identify(&self, digest: &mut Digest) {
        match &self.namespaces {
            NamespaceScope::Named(name) => {
                digest.tag(0);
                digest.text(name.as_str());
            }
            NamespaceScope::Matching(selector) => {
                digest.tag(1);
                selector.identify(digest);
            }
        }
        self.pods.identify(digest);
    }
}

impl Identify for PeerUnion {
    fn identify(&self, digest: &mut Digest) {
        digest.count(self.pods.len());
        self.pods.iter().for_each(|peer| peer.identify(digest));
        self.blocks.identify(digest);
    }
}

impl Identify for Membership {
    fn identify(&self, digest: &mut Digest) {
        match self {
            Self::Pods(peers) => {
                digest.tag(0);
                digest.count(peers.len());
                peers.iter().for_each(|peer| peer.identify(digest));
            }
            Self::Destinations(destinations) => {
                digest.tag(1);
                digest.each(destinations.iter());
            }
        }
    }
}

impl Identify for PeerPort {
    fn identify(&self, digest: &mut Digest) {
        match &self.peer {
            None => digest.tag(0),
            Some(Peer::Pods(peer)) => {
                digest.tag(1);
                peer.identify(digest);
            }
            Some(Peer::Block(block)) => {
                digest.tag(2);
                // What it comes to, and not as it is written, which is for people.
                block.blocks().identify(digest);
            }
        }
        match &self.port {
            DestinationPorts::Named(name) => {
                digest.tag(self.protocol as u8);
                digest.text(name.as_str());
            }
            DestinationPorts::Numbers { first, last } => {
                // No protocol has such a tag.
                digest.tag(0x10 | self.protocol as u8);
                digest.number((*first).into());
                digest.number((*last).into());
            }
        }
    }
}
