//! Places: one end of a flow, as far as policies can tell.

use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::{NodeName, PodKey};

use crate::object::Pod;

/// One end of a flow.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its address; `None`: it is not known, and no `ipBlock` has it. Where nobody owns it, it is a node's all the same.
    pub address: Option<IpAddr>,
    /// The pods that own the address; several: it is contested. Pods of host networks own none.
    pub owners: Vec<Arc<Pod>>,
    /// The node whose own address it is, where no pod owns it.
    pub host: Option<NodeName>,
}

impl Place {
    /// Returns true if this pod owns it, perhaps with others.
    #[must_use]
    pub fn is_of(&self, pod: &PodKey) -> bool {
        self.owners.iter().any(|owner| owner.key == *pod)
    }
}
