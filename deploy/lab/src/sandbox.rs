//! A sandbox: a network namespace that a CNI attaches, as a container runtime makes it.

use std::ops::Deref;

use crate::error::Result;
use crate::host::Host;
use crate::lab::remove_namespace;
use crate::namespace::{DIRECTORY, Forwarding};
use crate::node::Node;

/// A network namespace without any link, until a CNI gives it some. Derefs to [`Host`]. Dropping it stops its servers and
/// removes it.
#[derive(Debug)]
pub struct Sandbox {
    host: Host,
}

impl Deref for Sandbox {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Sandbox {
    pub(crate) fn create(node: &Node, name: &str) -> Result<Self> {
        let Some(shared) = node.shared() else {
            return Err(node.system_error("add a sandbox", std::io::ErrorKind::NotFound.into()));
        };
        let topology = shared.topology();
        let namespace = shared.namespace(&topology, name, Forwarding::Host)?;
        Ok(Self { host: Host::new(namespace) })
    }

    /// What `CNI_NETNS` says.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{DIRECTORY}/{}", self.system_name())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Its servers hold it; the lab removes what is left.
        self.stop_serving();
        let _ = remove_namespace(self.system_name());
    }
}
