//! A node: that it exists, so that it gets a script before its first pod, which addresses its pods get, and which it has.

use std::net::IpAddr;

pub use flock_nft::pod_cidr::{PodCidr, PodCidrError};
use flock_shared::NodeName;

use super::fault::Fault;
use crate::collections::sorted::Sorted;

/// `v1.Node`, trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: NodeName,
    /// `spec.podCIDRs`, else `spec.podCIDR`: what the node's pods get their addresses from. Empty until assigned, and
    /// where something else than the node decides.
    pub pod_cidrs: Sorted<PodCidr>,
    /// `status.addresses`: its own addresses, at which it may take tunnelled packets in.
    pub addresses: Sorted<IpAddr>,
    /// What was not understood and left out: such a block is not guarded.
    pub faults: Vec<Fault>,
}

impl Node {
    /// A node without pod CIDRs and addresses.
    #[must_use]
    pub fn new(name: NodeName) -> Self {
        Self { name, pod_cidrs: Sorted::new(), addresses: Sorted::new(), faults: Vec::new() }
    }
}
