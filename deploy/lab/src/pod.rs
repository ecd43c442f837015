//! A pod: a network namespace behind a veth of its node, with any number of addresses.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;
use crate::host::Host;
use crate::lab::remove_namespace;
use crate::namespace::Forwarding;
use crate::node::{Family, GATEWAY_V4, GATEWAY_V6, Node};

/// What a pod is to have.
#[derive(Debug, Clone, Default)]
pub struct PodSpec {
    /// Addresses of either family that the node routes to the pod.
    pub addresses: Vec<IpAddr>,
    /// The name of the node's end of the veth, at most 15 bytes; `cali` and a number unless given.
    pub host_interface: Option<String>,
}

/// A pod of a [`Node`]; clones are the same pod. Derefs to [`Host`].
#[derive(Debug, Clone)]
pub struct Pod {
    inner: Arc<PodInner>,
}

#[derive(Debug)]
struct PodInner {
    host: Host,
    node: Node,
    host_interface: String,
    addresses: Mutex<Vec<IpAddr>>,
}

impl Deref for Pod {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.inner.host
    }
}

impl Pod {
    pub(crate) fn create(node: &Node, name: &str, spec: &PodSpec) -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let Some(shared) = node.shared() else {
            return Err(node.system_error("add a pod", std::io::ErrorKind::NotFound.into()));
        };
        // Locked to the end, as in `Node::create`.
        let mut topology = shared.topology();
        let namespace = shared.namespace(&topology, name, Forwarding::Host)?;
        let default = || format!("cali{:08x}", COUNTER.fetch_add(1, Ordering::Relaxed));
        let host = spec.host_interface.clone().unwrap_or_else(default);
        node.ip(&[
            format!("link add name {host} type veth peer name eth0 netns {}", namespace.system_name()),
            format!("link set dev {host} up"),
            format!("address add {GATEWAY_V6}/64 dev {host} nodad"),
        ])?;
        let mut lines = vec!["link set eth0 up".to_owned()];
        lines.extend(spec.addresses.iter().map(|&address| own(address)));
        lines.extend([
            format!("route add {GATEWAY_V4} dev eth0 scope link"),
            format!("route add default via {GATEWAY_V4} dev eth0 onlink"),
            format!("route add default via {GATEWAY_V6} dev eth0"),
        ]);
        namespace.ip(&lines)?;
        let pod = Self {
            inner: Arc::new(PodInner {
                host: Host::new(namespace),
                node: node.clone(),
                host_interface: host,
                addresses: Mutex::new(spec.addresses.clone()),
            }),
        };
        for other in &topology.nodes {
            let routes: Vec<_> = spec.addresses.iter().map(|&address| pod.route_at(other, address)).collect();
            if !routes.is_empty() {
                other.ip(&routes)?;
            }
        }
        topology.pods.push(pod.clone());
        Ok(pod)
    }

    /// The node that the pod runs on.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.inner.node
    }

    /// The name of the node's end of the pod's veth.
    #[must_use]
    pub fn host_interface(&self) -> &str {
        &self.inner.host_interface
    }

    /// The addresses that are routed to the pod, in the order given.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.inner.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The pod's first address of a family.
    #[must_use]
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses().into_iter().find(|&address| Family::of(address) == family)
    }

    /// Puts an address on the pod's interface that no node expects there: a source to spoof with. Nothing is
    /// routed to it, so answers go to its owner, if it has one.
    ///
    /// # Errors
    /// When the system refuses, for one because the pod has the address.
    pub fn add_address(&self, address: IpAddr) -> Result<()> {
        self.ip(&[own(address)])
    }

    /// Gives the pod one more address, with routes to it on every node. Where another pod has
    /// it too, traffic goes to this one from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn assign_address(&self, address: IpAddr) -> Result<()> {
        self.add_address(address)?;
        self.route_address(address)
    }

    /// Makes every node route `address`, which the pod has already, to this pod.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn route_address(&self, address: IpAddr) -> Result<()> {
        self.inner.addresses.lock().unwrap_or_else(PoisonError::into_inner).push(address);
        let nodes =
            self.inner.node.shared().map(|shared| shared.topology().nodes.clone()).unwrap_or_default();
        nodes.iter().try_for_each(|node| node.ip(&[self.route_at(node, address)]))
    }

    /// Removes the pod: its servers, its veth, its routes on its node, its namespace.
    ///
    /// # Errors
    /// When the system refuses, for one because the pod is gone already.
    pub fn delete(&self) -> Result<()> {
        self.stop_serving();
        // By itself: with its namespace the veth goes some time later, and its name would be taken until then.
        self.node().ip(&[format!("link del {}", self.host_interface())])?;
        remove_namespace(self.system_name())?;
        if let Some(shared) = self.inner.node.shared() {
            // Nodes that are made later would get routes to it.
            shared.topology().pods.retain(|pod| pod.namespace() != self.namespace());
        }
        Ok(())
    }

    fn route_at(&self, node: &Node, address: IpAddr) -> String {
        if node.namespace() == self.inner.node.namespace() {
            let source = node.address(Family::of(address));
            format!("route replace {address} dev {} src {source}", self.host_interface())
        } else {
            node.route_via(&self.inner.node, address)
        }
    }
}

/// The `ip` command that makes an address the pod's own.
fn own(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("address add {address}/32 dev eth0"),
        IpAddr::V6(address) => format!("address add {address}/128 dev eth0 nodad"),
    }
}
