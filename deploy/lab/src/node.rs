//! A node: a network namespace that routes between its pods and the underlay, as a node with a routed CNI does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Deref;
use std::sync::{Arc, Weak};

use crate::error::Result;
use crate::host::Host;
use crate::lab::Shared;
use crate::namespace::Forwarding;
use crate::pod::{Pod, PodSpec};
use crate::sandbox::Sandbox;

/// The address that pods have as their IPv4 gateway; every node answers for it.
pub(crate) const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The address that pods have as their IPv6 gateway; the node's end of every veth has it.
pub(crate) const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// A node of a [`Lab`](crate::Lab); clones are the same node. Derefs to [`Host`].
#[derive(Debug, Clone)]
pub struct Node {
    inner: Arc<NodeInner>,
}

#[derive(Debug)]
struct NodeInner {
    host: Host,
    shared: Weak<Shared>,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl Deref for Node {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.inner.host
    }
}

impl Node {
    pub(crate) fn create(shared: &Arc<Shared>, name: &str) -> Result<Self> {
        // Locked to the end: a pod that is made at the same time would miss this node, and this node its routes.
        let mut topology = shared.topology();
        let namespace = shared.namespace(&topology, name, Forwarding::Router)?;
        let number = topology.next_node();
        let [high, low] = number.to_be_bytes();
        let v4 = Ipv4Addr::new(172, 18, high, low);
        let v6 = Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, number);
        shared.underlay().ip(&[
            format!("link add port{number} type veth peer name eth0 netns {}", namespace.system_name()),
            format!("link set port{number} master br0 up"),
        ])?;
        let mut lines = vec![
            "link set eth0 up".to_owned(),
            format!("address add {v4}/16 dev eth0"),
            format!("address add {v6}/64 dev eth0 nodad"),
            format!("address add {GATEWAY_V4}/32 dev lo scope link"),
        ];
        let node = Self {
            inner: Arc::new(NodeInner { host: Host::new(namespace), shared: Arc::downgrade(shared), v4, v6 }),
        };
        // Of the pods that are there. A later one gives every node its routes itself.
        for pod in &topology.pods {
            lines.extend(pod.addresses().into_iter().map(|address| node.route_via(pod.node(), address)));
        }
        node.ip(&lines)?;
        topology.nodes.push(node.clone());
        Ok(node)
    }

    /// Adds a pod with these addresses (any number, either family) behind an interface named `cali…`.
    ///
    /// # Errors
    /// When the name is taken or unusable, or the system refuses.
    pub fn pod(&self, name: &str, addresses: &[IpAddr]) -> Result<Pod> {
        self.pod_with(name, &PodSpec { addresses: addresses.to_vec(), host_interface: None })
    }

    /// Adds a pod, with a say in the name of the node's end of its veth.
    ///
    /// # Errors
    /// As [`Node::pod`], and when the node has an interface of this name.
    pub fn pod_with(&self, name: &str, spec: &PodSpec) -> Result<Pod> {
        Pod::create(self, name, spec)
    }

    /// A network namespace without any link, for a CNI to attach; nothing else of the lab knows it.
    ///
    /// # Errors
    /// When the name is taken or unusable, or the system refuses.
    pub fn sandbox(&self, name: &str) -> Result<Sandbox> {
        Sandbox::create(self, name)
    }

    /// The node's address on the underlay: the source of its own traffic to its pods and to other nodes.
    #[must_use]
    pub fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.inner.v4.into(),
            Family::V6 => self.inner.v6.into(),
        }
    }

    /// Applies an nftables script (`nft -f -`) in the node's namespace.
    ///
    /// # Errors
    /// With the message of nft.
    pub fn nft(&self, script: &str) -> Result<()> {
        self.run("nft", &["-f", "-"], script).map(drop)
    }

    /// The command that is `nft` inside this node, for an agent's `--nft`.
    #[must_use]
    pub fn nft_command(&self) -> String {
        format!("ip netns exec {} nft", self.system_name())
    }

    pub(crate) fn shared(&self) -> Option<Arc<Shared>> {
        self.inner.shared.upgrade()
    }

    /// The `ip` command that sends `address` to the node that has the pod.
    pub(crate) fn route_via(&self, owner: &Self, address: IpAddr) -> String {
        let family = Family::of(address);
        format!("route replace {address} via {} dev eth0 src {}", owner.address(family), self.address(family))
    }
}

/// The family of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of `address`.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}
