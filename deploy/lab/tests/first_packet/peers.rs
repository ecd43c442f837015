//! Pods that are there all the time, a server and a guest on each node: what others reach, and what tries to reach others.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flock_lab::Sandbox;

use crate::cluster::{Cluster, Pool, add};
use crate::rights::Role;
use crate::traffic::{Actor, Id, Targets};

/// Their addresses.
const POOL: Pool = Pool { name: "peers", first: 2, last: 9 };

pub(crate) struct Peer {
    pub(crate) id: Id,
    pub(crate) role: Role,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) actor: Actor,
    pub(crate) sandbox: Sandbox,
}

pub(crate) struct Peers {
    pub(crate) all: Vec<Peer>,
    /// Whom they send to.
    targets: Targets,
    /// All of their addresses.
    pub(crate) everybody: Targets,
}

impl Peers {
    /// Attaches them.
    pub(crate) fn new(cluster: &Cluster, pace: Duration) -> Self {
        let targets = Targets::default();
        let mut all = Vec::new();
        for node in 0..cluster.nodes.len() {
            let runtime = cluster.runtime(node, POOL, true);
            for role in [Role::Server, Role::Guest] {
                let name = format!("{}-{node}", role.label());
                cluster.put(node, role.namespace(), &name, role.label());
                let sandbox = cluster.sandbox(node, &name);
                let attachment = cluster.attachment(role.namespace(), &name, &sandbox);
                let addresses = add(&runtime, &attachment).unwrap();
                let id = Id::try_from(all.len()).unwrap();
                let actor = Actor::start(&sandbox, id, &targets, pace);
                all.push(Peer { id, role, addresses, actor, sandbox });
            }
        }
        let everybody: BTreeSet<IpAddr> =
            all.iter().flat_map(|peer| peer.addresses.iter().copied()).collect();
        Self { all, targets, everybody: Arc::new(Mutex::new(everybody)) }
    }

    /// Has them send to addresses, whoever has them.
    pub(crate) fn aim(&self, at: impl IntoIterator<Item = IpAddr>) {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).extend(at);
    }

    /// Has them no longer send to addresses.
    pub(crate) fn leave(&self, alone: &[IpAddr]) {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.retain(|target| !alone.contains(target));
    }
}
