//! A pod: where it runs, what it is labelled, which addresses it owns and how its ports are called.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::{NodeName, PodKey};

use super::interface::HostInterface;
use super::policy::Fault;
use crate::label::Labels;
use crate::port::Protocol;
use crate::sorted::Sorted;

/// `v1.Pod`, trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub key: PodKey,
    /// `spec.nodeName`; `None` before scheduling.
    pub node: Option<NodeName>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// Whose network the pod uses.
    pub network: PodNetwork,
    /// How far the pod has come.
    pub lifecycle: Lifecycle,
    /// Named ports of its containers and sidecars; a name may stand for several numbers.
    pub ports: Sorted<NamedPort>,
    /// What was not understood and left out: such a port does not match, such an address owns nothing.
    pub faults: Vec<Fault>,
}

/// Whose network a pod uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodNetwork {
    /// `spec.hostNetwork`: its addresses are the node's, no policy applies to it and no selector peer matches it.
    Host,
    /// A network of its own.
    Own {
        /// `status.podIPs` (and `status.podIP`), any number of either family; empty until assigned.
        addresses: Sorted<IpAddr>,
        /// The host's end of its link, where it is known.
        interface: Option<HostInterface>,
    },
}

/// How far a pod has come, as far as its addresses are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lifecycle {
    /// Owns its addresses.
    Live,
    /// `metadata.deletionTimestamp` is set: yields an address to a live pod that has it too.
    Deleting,
    /// `status.phase` is Succeeded or Failed: owns nothing, its addresses get reused.
    Finished,
}

impl Pod {
    /// The addresses that the pod itself claims: none for a host-network or finished pod.
    #[must_use]
    pub fn addresses(&self) -> Option<&Sorted<IpAddr>> {
        match (&self.network, self.lifecycle) {
            (PodNetwork::Host, _) | (_, Lifecycle::Finished) => None,
            (PodNetwork::Own { addresses, .. }, Lifecycle::Live | Lifecycle::Deleting) => Some(addresses),
        }
    }

    /// The numbers that `name` stands for on this pod.
    pub fn numbers<'a>(&'a self, protocol: Protocol, name: &'a PortName) -> impl Iterator<Item = u16> + 'a {
        self.ports
            .iter()
            .filter(move |port| port.protocol == protocol && port.name == *name)
            .map(|port| port.number)
    }
}

/// The name of a container port (`ContainerPort.name`), compared exactly.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortName(Arc<str>);

impl PortName {
    /// Wraps a name; any string will do, as it only ever compares with other names.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A named port of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    /// `ContainerPort.name`.
    pub name: PortName,
    /// `ContainerPort.protocol`.
    pub protocol: Protocol,
    /// `ContainerPort.containerPort`, 1 to 65535.
    pub number: u16,
}
