//! A pod: where it runs, what it is labelled, which addresses it owns and how its ports are called.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use flock_shared::{NodeName, PodKey};

use super::attachment::{Attachment, PodUid};
use super::fault::Fault;
use super::interface::HostInterface;
use super::port::{NamedPort, PortName};
use super::untranslated::Untranslated;
use super::workload::{Owner, Workload};
use crate::collections::sorted::Sorted;
use crate::label::Labels;
use crate::port::Protocol;

/// `v1.Pod`, trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub key: PodKey,
    /// Its UID as its kubelet knows it; `None`: it is not known, so nothing that CNI says is about this pod.
    pub uid: Option<PodUid>,
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
    /// Since when it is on its way to its node, as the API server says; `None` where it says nothing, and for pods that have
    /// arrived.
    pub scheduled: Option<UnixTime>,
    /// The workload that it belongs to, as its own metadata say: whoever may write the pod decides.
    pub owner: Untranslated<Owner>,
    /// What was not understood and left out: such a port does not match, such an address owns nothing.
    pub faults: Vec<Fault>,
}

/// A time on a wall clock, in whole seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u32);

impl UnixTime {
    /// So many seconds since 1970; `None`: before that, or after 2105.
    #[must_use]
    pub fn new(seconds: i64) -> Option<Self> {
        seconds.try_into().ok().map(Self)
    }

    /// How much time has passed since `earlier`; none if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0) as u64)
    }
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
        /// What CNI did for it, which the world adds from the `NodePods` of its node; `None`: nothing so far.
        attachment: Option<Arc<Attachment>>,
    },
}

impl PodNetwork {
    /// A network of its own, of which CNI has said nothing.
    #[must_use]
    pub const fn own(addresses: Sorted<IpAddr>, interface: Option<HostInterface>) -> Self {
        Self::Own { addresses, interface, attachment: None }
    }
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
    /// A live pod on no node, with a network of its own, of which nothing else is known.
    #[must_use]
    pub fn new(key: PodKey) -> Self {
        Self {
            key,
            uid: None,
            node: None,
            labels: Labels::default(),
            network: PodNetwork::own(Sorted::new(), None),
            lifecycle: Lifecycle::Live,
            ports: Sorted::new(),
            scheduled: None,
            owner: Untranslated::default(),
            faults: Vec::new(),
        }
    }

    /// The workload that it belongs to, or stands for.
    #[must_use]
    pub fn workload(&self) -> Option<&Arc<Workload>> {
        self.owner.workload()
    }

    /// Returns true if there is no such pod, but a workload that will make pods like this one.
    #[must_use]
    pub const fn stands_for_others(&self) -> bool {
        matches!(self.owner.0, Owner::StandsFor(_))
    }

    /// Returns true if what both send each other never leaves a pod: they are one, and not what stands for several.
    #[must_use]
    pub fn is_same_pod(&self, other: &Self) -> bool {
        self.key == other.key && !self.stands_for_others()
    }

    /// Its name as people know it: `shop/api-5f6b`, and `shop/deploy/api` of a pod that stands for its workload.
    pub fn title(&self) -> impl fmt::Display {
        struct Title<'a>(&'a Pod);
        impl fmt::Display for Title<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Pod { key, owner, .. } = self.0;
                match &owner.0 {
                    Owner::StandsFor(workload) => write!(f, "{}/{workload}", key.namespace),
                    Owner::Workload(_) | Owner::Nobody => write!(f, "{key}"),
                }
            }
        }
        Title(self)
    }

    /// Returns true if it uses its node's network: no policy applies to it, and no selector peer matches it.
    #[must_use]
    pub const fn is_of_host_network(&self) -> bool {
        matches!(self.network, PodNetwork::Host)
    }

    /// The addresses that the pod itself claims: those that CNI gave its sandboxes; where it has never had one that is known,
    /// those of its status. `None` for a host-network or finished pod, and for one whose sandboxes are gone.
    #[must_use]
    pub fn addresses(&self) -> Option<&Sorted<IpAddr>> {
        let PodNetwork::Own { addresses, attachment, .. } = &self.network else { return None };
        if self.lifecycle == Lifecycle::Finished {
            return None;
        }
        match attachment.as_deref() {
            None => Some(addresses),
            Some(Attachment::Attached { addresses, .. }) => Some(addresses),
            Some(Attachment::Detached) => None,
        }
    }

    /// Returns true if it may start at any moment, with an address that nobody knows: it is bound to a node and has never had
    /// an address.
    #[must_use]
    pub fn is_on_its_way(&self) -> bool {
        // Once CNI has said anything of it nobody waits: its addresses are known, gone, or not believed.
        let PodNetwork::Own { addresses, attachment: None, .. } = &self.network else { return false };
        self.node.is_some() && self.lifecycle == Lifecycle::Live && addresses.is_empty()
    }

    /// How well the pod's claim to its addresses is founded.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let attached = matches!(&self.network, PodNetwork::Own { attachment: Some(_), .. });
        match (attached, self.lifecycle == Lifecycle::Live) {
            (false, false) => Claim::DeletingByStatus,
            (false, true) => Claim::ByStatus,
            (true, false) => Claim::DeletingAttached,
            (true, true) => Claim::Attached,
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

/// Who an address falls to if several pods claim it: the strongest claim, and to all who have it. CNI's word is newer than
/// that of a status, which outlives the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// The status of a pod that is being deleted.
    DeletingByStatus,
    /// The status of a live pod.
    ByStatus,
    /// CNI, for a pod that is being deleted.
    DeletingAttached,
    /// CNI, for a live pod.
    Attached,
}
