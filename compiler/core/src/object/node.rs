//! A node: that it exists, so that it gets a script before its first pod, and which addresses its pods get.

pub use flock_nft::pod_cidr::{PodCidr, PodCidrError};
use flock_shared::NodeName;

use super::policy::Fault;
use crate::sorted::Sorted;

/// `v1.Node`, trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: NodeName,
    /// `spec.podCIDRs`, else `spec.podCIDR`: what the node's pods get their addresses from. Empty until assigned, and
    /// where something else than the node decides.
    pub pod_cidrs: Sorted<PodCidr>,
    /// What was not understood and left out: such a block is not guarded.
    pub faults: Vec<Fault>,
}

impl Node {
    /// A node without pod CIDRs.
    #[must_use]
    pub fn new(name: NodeName) -> Self {
        Self { name, pod_cidrs: Sorted::new(), faults: Vec::new() }
    }
}
