//! A host: a namespace that can run servers. Nodes and pods are hosts.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use crate::error::Result;
use crate::namespace::Namespace;
use crate::probe::Protocol;
use crate::serve::{Arrival, Server};

/// What nodes and pods have in common. Derefs to its [`Namespace`].
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    servers: Mutex<Vec<Server>>,
}

impl Host {
    pub(crate) fn new(namespace: Namespace) -> Self {
        Self { namespace, servers: Mutex::default() }
    }

    /// Starts echo servers on these ports, for both families and all addresses, and returns once they listen. They
    /// run until the lab is dropped. ICMP echo needs no server.
    ///
    /// # Errors
    /// When a port is taken.
    pub fn serve(&self, services: &[(Protocol, u16)]) -> Result<()> {
        let server = Server::start(&self.namespace, services)?;
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).push(server);
        Ok(())
    }

    /// What arrived at this host's servers, oldest first; at most the last 4,096 per call of
    /// [`serve`](Self::serve). Tells one-way whether a packet came through, for sources that no answer finds.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.iter().flat_map(Server::arrivals).collect()
    }

    /// Ends all servers of this host.
    pub fn stop_serving(&self) {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The host's namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

impl Deref for Host {
    type Target = Namespace;
    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}
