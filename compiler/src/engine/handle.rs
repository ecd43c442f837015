//! Asking the engine: what may be asked, and the handle that everybody else has of it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use flock_compiler_core::forget::Elsewhere;
use flock_compiler_core::object::{Facts, NodePods};
use flock_compiler_core::{Output, Problem, World};
use flock_shared::NodeName;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::published::{Published, Sequence};
use super::released::Released;
use super::replica_progress::ReplicaProgress;
use crate::mirror::{Mirror, Snapshot};

/// What a pass has revoked, for the nodes that do not judge it themselves.
#[derive(Debug, Clone)]
pub struct Revoked {
    /// What it is, by whom, and whom it concerns.
    pub elsewhere: Arc<Elsewhere>,
    /// The pass. The nodes that revoke it deny it with what this has published for them.
    pub sequence: Sequence,
}

/// What passes have revoked.
pub type Revocations = broadcast::Receiver<Revoked>;

/// What the compiler wants of one node; `None` until the world is complete.
pub type Desired = watch::Receiver<Option<Arc<Published>>>;

/// What the engine is asked.
pub(super) enum Request {
    Subscribe(NodeName, oneshot::Sender<Desired>),
    /// What an agent says of its node, and where to see what the node should have, once that is taken into account.
    SubscribeAgent(NodeName, Option<Facts>, oneshot::Sender<Desired>),
    /// What an agent that has introduced itself says of its node.
    Observe(Facts),
    Nodes(oneshot::Sender<BTreeMap<NodeName, Desired>>),
    Problems(oneshot::Sender<Vec<Problem>>),
    /// What the nodes of some pods' addresses enforce.
    Outputs(Vec<IpAddr>, oneshot::Sender<HashMap<IpAddr, Vec<Arc<Output>>>>),
    /// What CNI did on a node, where there is no API server to write it down.
    Attached(NodePods),
    /// A look at the world.
    Look(Look),
    /// What is published is wrong: a pass from nothing.
    StartOver,
}

/// Looks at what is published; to be quick, for everything else waits.
pub(super) type Look = Box<dyn FnOnce(&View<'_>) + Send>;

/// The world as it is published.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The objects.
    pub world: &'a World,
    /// The newest pass, which knows all of them.
    pub sequence: Sequence,
    /// What pods have ceased to have.
    pub released: &'a Released,
}

/// Asks the engine. Cloning is cheap; a request fails only when the engine has stopped.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) ready: watch::Receiver<bool>,
    pub(super) sound: watch::Receiver<bool>,
    pub(super) passed: watch::Receiver<Sequence>,
    pub(super) progress: watch::Receiver<ReplicaProgress>,
    pub(super) revocations: broadcast::Sender<Revoked>,
    pub(super) mirror: Mirror,
}

/// The engine has stopped; the process is about to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine has stopped")]
pub struct EngineStopped;

impl EngineHandle {
    /// What `node` should have, now and later. A node that the world does not know has a table without subjects.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn subscribe(&self, node: NodeName) -> Result<Desired, EngineStopped> {
        self.request(|reply| Request::Subscribe(node, reply)).await
    }

    /// The same, for the agent of `node`, which says this of it. What is published already takes that into account.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn subscribe_agent(
        &self,
        node: NodeName,
        facts: Option<Facts>,
    ) -> Result<Desired, EngineStopped> {
        self.request(|reply| Request::SubscribeAgent(node, facts, reply)).await
    }

    /// The agent of a node, which has introduced itself, says something else of it.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn observe(&self, facts: Facts) -> Result<(), EngineStopped> {
        self.requests.send(Request::Observe(facts)).await.map_err(|_| EngineStopped)
    }

    /// What every known node should have.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn nodes(&self) -> Result<BTreeMap<NodeName, Desired>, EngineStopped> {
        self.request(Request::Nodes).await
    }

    /// What a user should mend, in order.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn problems(&self) -> Result<Vec<Problem>, EngineStopped> {
        self.request(Request::Problems).await
    }

    /// What `look` sees in the world, once that is complete. It is to be quick.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, EngineStopped> {
        let mut ready = self.ready.clone();
        ready.wait_for(|ready| *ready).await.map_err(|_| EngineStopped)?;
        // An asker that went away does not want the answer any more.
        self.request(|reply| Request::Look(Box::new(move |view| drop(reply.send(look(view)))))).await
    }

    /// The objects as they are published, for whatever takes longer than a look.
    #[must_use]
    pub const fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// What is mirrored, once the world is complete and the mirror knows what is published by then.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn snapshot(&self) -> Result<Snapshot, EngineStopped> {
        let mut ready = self.ready.clone();
        ready.wait_for(|ready| *ready).await.map_err(|_| EngineStopped)?;
        let passed = *self.passed.borrow();
        Ok(self.mirror.snapshot_of(passed).await)
    }

    /// Has everything translated from nothing and published, where what is published has turned out to be wrong.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn start_over(&self) -> Result<(), EngineStopped> {
        self.requests.send(Request::StartOver).await.map_err(|_| EngineStopped)
    }

    /// The newest pass that is published.
    #[must_use]
    pub fn passed(&self) -> watch::Receiver<Sequence> {
        self.passed.clone()
    }

    /// What CNI did on a node, where there is no API server to write it down.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn attached(&self, object: NodePods) -> Result<(), EngineStopped> {
        self.requests.send(Request::Attached(object)).await.map_err(|_| EngineStopped)
    }

    /// What the nodes of the owners of these addresses are to enforce; addresses that nobody owns are left out.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn outputs(
        &self,
        addresses: Vec<IpAddr>,
    ) -> Result<HashMap<IpAddr, Vec<Arc<Output>>>, EngineStopped> {
        self.request(|reply| Request::Outputs(addresses, reply)).await
    }

    /// What is revoked from here on, for nodes that do not judge it themselves.
    #[must_use]
    pub fn revocations(&self) -> Revocations {
        self.revocations.subscribe()
    }

    /// Returns true if every kind has been listed and its translation is published.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// A receiver that turns true once [`Self::is_ready`] does.
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Returns true unless an invariant of the translation is broken, also from nothing: then nothing new is published, and no
    /// agent should turn to this replica.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        *self.sound.borrow()
    }

    /// A receiver that changes when [`Self::is_sound`] does.
    #[must_use]
    pub fn soundness(&self) -> watch::Receiver<bool> {
        self.sound.clone()
    }

    /// How far the states that are published reach; changes when they reach further.
    #[must_use]
    pub fn replica_progress(&self) -> watch::Receiver<ReplicaProgress> {
        self.progress.clone()
    }

    async fn request<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, EngineStopped> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(make(reply)).await.map_err(|_| EngineStopped)?;
        answer.await.map_err(|_| EngineStopped)
    }
}
