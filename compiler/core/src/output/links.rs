//! Links: what is known of the ways by which frames and tunnelled packets come to the node's pods.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::object::{InterfaceName, PodCidr};

/// What is known of the node's own links: from its agent's facts, and from the Node objects of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// The bridges that pods of the node hang on. Frames of other bridges are nobody's business.
    pub pod_bridges: BTreeSet<InterfaceName>,
    /// Ports of bridges that no pod hangs on; empty where there is no pod bridge.
    pub other_ports: BTreeSet<InterfaceName>,
    /// Ports of pod bridges that lead out of the node: what is neither a pod's link nor a virtual machine's.
    pub uplinks: BTreeSet<InterfaceName>,
    /// The addresses of the pods of the node; empty where there is no pod bridge.
    pub pod_addresses: BTreeSet<IpAddr>,
    /// The node's pod CIDRs, in order; empty where there is no pod bridge.
    pub pod_cidrs: BTreeSet<PodCidr>,
    /// UDP ports at which the node takes tunnelled packets in, beside the well-known ones.
    pub tunnel_ports: BTreeSet<u16>,
    /// The addresses of all nodes of the cluster (`Node.status.addresses`); empty where no interface of a pod is known.
    pub node_addresses: Arc<BTreeSet<IpAddr>>,
}
