//! Links: what is known of the ways by which frames and tunnelled packets come to the node's pods.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use crate::identity::{Digest, Identity};
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
    /// The addresses of all nodes of the cluster (`Node.status.addresses`); empty where neither an interface of a pod nor
    /// a bridge of pods is known.
    pub node_addresses: Arc<NodeAddresses>,
}

impl Links {
    /// The digest of all that they are laid out to.
    pub(super) fn digest(&self) -> Identity {
        let mut digest = Digest::new();
        for names in [&self.pod_bridges, &self.other_ports, &self.uplinks] {
            // Counts keep the lists apart: a name that moves to the next one has to give another digest.
            digest.count(names.len());
            names.iter().for_each(|name| digest.text(name.as_str()));
        }
        digest.count(self.pod_addresses.len());
        self.pod_addresses.iter().for_each(|at| digest.address(at));
        digest.count(self.pod_cidrs.len());
        for cidr in &self.pod_cidrs {
            digest.address(&cidr.first());
            digest.tag(cidr.prefix());
        }
        digest.count(self.tunnel_ports.len());
        for port in &self.tunnel_ports {
            digest.bytes(&port.to_be_bytes());
        }
        digest.inner(self.node_addresses.digest());
        digest.finish()
    }
}

/// The addresses of all nodes of the cluster, with their digest: thousands of nodes' rules share them, and none hashes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAddresses {
    addresses: BTreeSet<IpAddr>,
    digest: Identity,
}

impl NodeAddresses {
    /// The digest of all of them.
    pub(crate) const fn digest(&self) -> &Identity {
        &self.digest
    }
}

impl From<BTreeSet<IpAddr>> for NodeAddresses {
    fn from(addresses: BTreeSet<IpAddr>) -> Self {
        let mut digest = Digest::new();
        digest.count(addresses.len());
        addresses.iter().for_each(|at| digest.address(at));
        Self { addresses, digest: digest.finish() }
    }
}

impl FromIterator<IpAddr> for NodeAddresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        addresses.into_iter().collect::<BTreeSet<_>>().into()
    }
}

impl<const N: usize> From<[IpAddr; N]> for NodeAddresses {
    fn from(addresses: [IpAddr; N]) -> Self {
        addresses.into_iter().collect()
    }
}

impl Default for NodeAddresses {
    fn default() -> Self {
        BTreeSet::new().into()
    }
}

impl Deref for NodeAddresses {
    type Target = BTreeSet<IpAddr>;
    fn deref(&self) -> &BTreeSet<IpAddr> {
        &self.addresses
    }
}
