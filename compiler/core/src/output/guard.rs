//! What guards the pods of a node that nobody knows yet: the node's pod CIDRs, when they are closed, and the known addresses
//! within them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flock_shared::PodKey;

use crate::collections::sorted::Sorted;
use crate::identity::{Digest, Identity};
use crate::members::{Member, Members};
use crate::object::{Direction, PodCidr, Types};

/// When the blocks of a node are closed to and from addresses that are not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Closing {
    /// Always.
    #[default]
    Always,
    /// In these directions, for a pod is on its way that a policy isolates there; in the others while nobody attends to the
    /// node, who could be told of such a pod.
    Expecting(Option<Types>),
}

impl Closing {
    /// Returns true if the blocks are closed in a direction also while somebody attends to the node.
    #[must_use]
    pub fn is_closed(self, direction: Direction) -> bool {
        match self {
            Self::Always => true,
            Self::Expecting(directions) => directions.is_some_and(|it| it.contains(direction)),
        }
    }
}

/// Blocks whose addresses are isolated unless they are known: a pod may have one of them and not have been seen yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodCidrGuard {
    /// The node's pod CIDRs; at least one.
    pub cidrs: Sorted<PodCidr>,
    /// When they are closed.
    pub closing: Closing,
    /// For whose sake they are closed, in order, if that is not always. No part of the revision.
    pub expected: Sorted<PodKey>,
    /// The IPv4 addresses within them that some pod of the cluster owns.
    pub known4: Members<Member<Ipv4Addr>>,
    /// The IPv6 addresses within them that some pod of the cluster owns.
    pub known6: Members<Member<Ipv6Addr>>,
}

impl PodCidrGuard {
    /// Returns true if an address is a known one within the blocks.
    #[must_use]
    pub fn is_known(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.known4.contains(&Member { address, service: None }),
            IpAddr::V6(address) => self.known6.contains(&Member { address, service: None }),
        }
    }

    /// The addresses that are known in one of both and not in the other, in order.
    pub(crate) fn changes(before: Option<&Self>, after: Option<&Self>) -> Vec<IpAddr> {
        let none = Self::default();
        let (before, after) = (before.unwrap_or(&none), after.unwrap_or(&none));
        let v4 = after.known4.changes_since(&before.known4);
        let v6 = after.known6.changes_since(&before.known6);
        let v4 = v4.removed.iter().chain(&v4.added).map(|member| IpAddr::V4(member.address));
        let v6 = v6.removed.iter().chain(&v6.added).map(|member| IpAddr::V6(member.address));
        let mut changed: Vec<IpAddr> = v4.chain(v6).collect();
        changed.sort_unstable();
        changed
    }

    /// The digest of all that it is laid out to.
    pub(super) fn digest(&self) -> Identity {
        let mut digest = Digest::new();
        digest.count(self.cidrs.len());
        for cidr in &self.cidrs {
            digest.address(&cidr.first());
            digest.tag(cidr.prefix());
        }
        self.known4.identify(&mut digest);
        self.known6.identify(&mut digest);
        // Behind all else, so that what is always closed has the digest that it had before there was anything else.
        match self.closing {
            Closing::Always => {}
            Closing::Expecting(_) => {
                for direction in Direction::ALL {
                    digest.tag(u8::from(self.closing.is_closed(direction)));
                }
            }
        }
        digest.finish()
    }

    /// The known addresses, in order.
    pub fn known(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.known4.iter().map(|member| IpAddr::V4(member.address));
        v4.chain(self.known6.iter().map(|member| IpAddr::V6(member.address)))
    }
}
