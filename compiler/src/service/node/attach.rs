//! Calls of CNI's plugin, which agents relay: written down, published, and acknowledged by the nodes that they concern.
//!
//! The caller's deadline is kept step by step, not by a timeout of tower's around the call: each step says for what it waited.
//!
//! ```text
//! admit ─▶ write down ─▶ seen in the world ─▶ the own node ─▶ nodes that had the address otherwise ─▶ nodes that open to it
//!  └───────────────────────────── the caller's deadline ────────────────────────────────────────┘   └── attach_wait ──┘
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use flock_compiler_core::World;
use flock_compiler_core::object::{Attachment, PodNetwork};
use flock_proto::{Attach, Attached, Detach, v1};
use flock_shared::NodeName;
use flock_shared::cni::{Reach, Sandbox};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::shared::NodeShared;
use crate::access::Grant;
use crate::attach::{Admission, Admitter, Entry, WriteError};
use crate::engine::{EngineStopped, Sequence};
use crate::service::connection::ConnectionHandle;
use crate::service::context::Context;

/// The part of a caller's time that the answer is given to come back.
const WAY_BACK: u32 = 20;

/// Nodes that have not acknowledged something.
#[derive(Debug, Default)]
struct LaggingNodes {
    /// Their agents are with this replica.
    here: Vec<NodeName>,
    /// Their agents are with another replica, or away: what they have is not known here. Such nodes are named, and hold
    /// nothing up: a machine that is switched off would hold up every pod of every other one.
    elsewhere: Vec<NodeName>,
}

impl LaggingNodes {
    const fn is_empty(&self) -> bool {
        self.here.is_empty() && self.elsewhere.is_empty()
    }

    /// The answer where these may have an address as that of a former owner.
    fn attached(self) -> Attached {
        let Self { here, elsewhere } = self;
        let reach = match (here.is_empty(), elsewhere.is_empty()) {
            (false, _) => Reach::Unclean,
            (true, false) => Reach::Node,
            (true, true) => Reach::Everywhere,
        };
        Attached { reach, behind: [here, elsewhere].concat() }
    }
}

/// Answers a call of an agent that was let in.
pub(super) struct AttachService {
    pub(super) shared: Arc<NodeShared>,
    pub(super) grant: Grant,
    pub(super) connection: ConnectionHandle,
}

/// What a node is to acknowledge.
type Target = (NodeName, Sequence);

impl AttachService {
    /// CNI ADD.
    pub(super) async fn attach(self, call: v1::AttachRequest) -> Result<v1::AttachReply, Status> {
        let called = Instant::now();
        let attached = self.attached(call, called).await;
        let reach = attached.as_ref().ok().map(|attached| attached.reach);
        self.shared.context.metrics.attached(reach, called.elapsed());
        attached.map(Into::into)
    }

    async fn attached(&self, call: v1::AttachRequest, called: Instant) -> Result<Attached, Status> {
        let call = Attach::try_from(call).map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.authorize(&call.node)?;
        // After the node is known to be the caller's own: else anybody could use up another node's calls.
        let _permit = self.shared.quotas.permit(&call.node)?;
        let Attach { node, sandbox, within } = call;
        let deadline = called + within.saturating_sub(within / WAY_BACK);
        let (entry, before) = self.admitted(&node, sandbox, deadline).await?;
        let keeping = self.shared.context.writer.attach(&node, entry.clone());
        timeout_at(deadline, keeping).await.map_err(|_| late("the API server"))?.map_err(refused)?;
        self.shown(&entry, deadline).await?;
        let addresses = entry.given.map(|given| given.addresses).unwrap_or_default();
        let reached = self.reached(&node, before, addresses, deadline).await?;
        if reached.reach != Reach::Everywhere {
            let behind: Vec<&str> = reached.behind.iter().map(NodeName::as_str).collect();
            tracing::debug!(%node, pod = %entry.pod, reach = ?reached.reach, ?behind, "attached");
        }
        Ok(reached)
    }

    /// CNI DEL.
    pub(super) async fn detach(self, call: v1::DetachRequest) -> Result<v1::AttachReply, Status> {
        let called = Instant::now();
        let call = Detach::try_from(call).map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.authorize(&call.node)?;
        let _permit = self.shared.quotas.permit(&call.node)?;
        let Detach { node, sandbox, within } = call;
        let deadline = called + within.saturating_sub(within / WAY_BACK);
        let keeping = self.shared.context.writer.detach(&node, sandbox);
        let found = timeout_at(deadline, keeping).await.map_err(|_| late("the API server"))?;
        let Some((entry, given)) =
            found.map_err(refused)?.and_then(|entry| Some((entry.clone(), entry.given?)))
        else {
            // Nobody knows it, or it was gone before.
            return Ok(Attached { reach: Reach::Everywhere, behind: Vec::new() }.into());
        };
        let addresses = given.addresses.clone();
        self.until(deadline, move |world| !holds(world, &entry, &addresses)).await?;
        Ok(self.unclean(&given.addresses, deadline).await?.attached().into())
    }

    /// An agent calls for its own node only.
    fn authorize(&self, node: &NodeName) -> Result<(), Status> {
        Ok(self.grant.check_node(node).inspect_err(|_| self.connection.deauthenticated())?)
    }

    /// The sandbox as it may be written down, and the newest pass before that.
    async fn admitted(
        &self,
        node: &NodeName,
        sandbox: Sandbox,
        deadline: Instant,
    ) -> Result<(Entry, Sequence), Status> {
        let mut passed = self.shared.context.engine.passed();
        loop {
            // Before the look: a pass that comes after it is not missed.
            passed.mark_unchanged();
            let (node, said) = (node.clone(), [sandbox.clone()]);
            let look = self.shared.context.engine.look(move |view| {
                let [sandbox] = &said;
                (Admitter::new(view.world, &node, &said).admit(sandbox), view.sequence)
            });
            let looked = timeout_at(deadline, look).await;
            let (admission, sequence) =
                looked.map_err(|_| late("this replica, which has not read the cluster yet"))??;
            match admission {
                Admission::Admitted(entry) => return Ok((entry, sequence)),
                Admission::Refused(why) => return Err(Status::failed_precondition(why)),
                Admission::NotYet(why) => {
                    if timeout_at(deadline, passed.changed()).await.is_err() {
                        return Err(Status::deadline_exceeded(why));
                    }
                }
                Admission::Another(why) => {
                    if timeout_at(deadline, passed.changed()).await.is_err() {
                        return Err(Status::failed_precondition(why));
                    }
                }
            }
        }
    }

    /// Waits until the world has a sandbox that was written down, or its pod is gone.
    async fn shown(&self, entry: &Entry, deadline: Instant) -> Result<(), Status> {
        let entry = entry.clone();
        self.until(deadline, move |world| {
            let addresses = entry.given.iter().flat_map(|given| &given.addresses).copied();
            let is_there =
                world.pods().get(&entry.pod).is_some_and(|pod| pod.uid.as_ref() == Some(&entry.uid));
            !is_there || holds(world, &entry, &addresses.collect::<Vec<_>>())
        })
        .await
    }

    /// Waits until something holds of the world as it is published.
    async fn until(
        &self,
        deadline: Instant,
        holds: impl Fn(&World) -> bool + Clone + Send + 'static,
    ) -> Result<(), Status> {
        let mut passed = self.shared.context.engine.passed();
        loop {
            passed.mark_unchanged();
            let holds = holds.clone();
            if self.shared.context.engine.look(move |view| holds(view.world)).await? {
                return Ok(());
            }
            timeout_at(deadline, passed.changed())
                .await
                .map_err(|_| late("the API server's watch"))?
                .map_err(|_| EngineStopped)?;
        }
    }

    /// Waits for the nodes, and says how far it has come.
    async fn reached(
        &self,
        node: &NodeName,
        before: Sequence,
        addresses: Vec<IpAddr>,
        deadline: Instant,
    ) -> Result<Attached, Status> {
        let given = addresses.clone();
        let looking = self.shared.context.engine.look(move |view| view.released.suspected(&given));
        let suspected = looking.await?;
        let mut own = None;
        let mut others = Vec::new();
        for (name, desired) in self.shared.context.engine.nodes().await? {
            let Some(sequence) = desired.borrow().as_ref().map(|published| published.sequence()) else {
                continue;
            };
            if name == *node {
                own = Some((name, sequence));
            } else if sequence > before {
                others.push((name, sequence));
            } else if let Some(first) = suspected {
                // It may still have what stood there before this process began. Nobody knows, so it holds nothing up for long.
                others.push((name, first));
            }
        }
        // The own node first: until it has the pod's table nothing else matters, and the pod may not start.
        // A node that nothing is published for is none of this cluster's: nothing is isolated there.
        if !self.behind(own.into_iter().collect(), deadline).await.is_empty() {
            return Err(late(&format!("the acknowledgement of node {node}")));
        }
        let unclean = self.unclean(&addresses, deadline).await?;
        if !unclean.here.is_empty() {
            return Ok(unclean.attached());
        }
        // Others only open to the pod: what they have not opened yet is denied, so they are waited for briefly.
        let opening = deadline.min(Instant::now() + self.shared.context.limits.attach_wait);
        let LaggingNodes { here, elsewhere } = self.behind(others, opening).await;
        let all = [here, unclean.elsewhere, elsewhere].concat();
        // Without its order, one may be in both.
        let behind: Vec<NodeName> = all.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let reach = if behind.is_empty() { Reach::Everywhere } else { Reach::Node };
        Ok(Attached { reach, behind })
    }

    /// Waits for the nodes that may have an address as that of a former owner; those that still may.
    async fn unclean(&self, addresses: &[IpAddr], deadline: Instant) -> Result<LaggingNodes, Status> {
        let addresses = addresses.to_vec();
        let looking = self.shared.context.engine.look(move |view| view.released.newest(&addresses));
        let Some(released) = looking.await? else { return Ok(LaggingNodes::default()) };
        let nodes = self.shared.context.engine.nodes().await?;
        // What was published for a node before is not about this, or the node has acknowledged it in time.
        let concerned = nodes.into_iter().filter(|(_, desired)| {
            desired.borrow().as_ref().is_some_and(|published| published.sequence() >= released)
        });
        let targets = concerned.map(|(name, _)| (name, released)).collect();
        Ok(self.behind(targets, deadline).await)
    }

    /// Waits until these nodes have acknowledged; those that have not by then.
    async fn behind(&self, targets: Vec<Target>, deadline: Instant) -> LaggingNodes {
        let mut behind = LaggingNodes::default();
        for (node, sequence) in targets {
            let mut status = self.shared.context.fleet.watch(&node);
            // A stream that ends meanwhile ends the wait: its agent may come to another replica.
            let has = |acknowledged: Option<Sequence>| acknowledged >= Some(sequence);
            let waiting = status.wait_for(|status| has(status.acknowledged) || status.stream.is_none());
            match timeout_at(deadline, waiting).await {
                Ok(Ok(status)) if has(status.acknowledged) => {}
                Ok(Ok(_)) => behind.elsewhere.push(node),
                _ => behind.here.push(node),
            }
        }
        behind
    }
}

/// Returns true if the pod of a sandbox has all of these addresses by CNI's word, as far as they are believed.
fn holds(world: &World, entry: &Entry, addresses: &[IpAddr]) -> bool {
    let Some(pod) = world.pods().get(&entry.pod).filter(|pod| pod.uid.as_ref() == Some(&entry.uid)) else {
        return false;
    };
    let PodNetwork::Own { attachment: Some(attachment), .. } = &pod.network else { return false };
    let Attachment::Attached { addresses: held, .. } = &**attachment else { return false };
    let believed = |address: &IpAddr| pod.node.as_ref().is_none_or(|node| world.may_have(node, *address));
    addresses.iter().filter(|address| believed(address)).all(|address| held.contains(address))
}

fn late(what: &str) -> Status {
    Status::deadline_exceeded(format!("waited in vain for {what}"))
}

fn refused(error: WriteError) -> Status {
    match error {
        WriteError::Absent(why) => {
            Status::unimplemented(format!("there is no place to write it down: {why}"))
        }
        WriteError::Invalid(why) => Status::failed_precondition(why),
        WriteError::Busy => Status::resource_exhausted(error.to_string()),
        WriteError::Ended => Status::unavailable(error.to_string()),
    }
}

/// Sandboxes that an agent says of its whole node, of which those that fit are written down. The others are said again.
pub(super) async fn correct(context: &Context, node: &NodeName, sandboxes: Vec<Sandbox>) {
    let own = node.clone();
    let looking = context.engine.look(move |view| {
        let admitter = Admitter::new(view.world, &own, &sandboxes);
        let admitted = |sandbox: &Sandbox| match admitter.admit(sandbox) {
            Admission::Admitted(entry) => Some(entry),
            Admission::NotYet(_) | Admission::Another(_) | Admission::Refused(_) => None,
        };
        sandboxes.iter().filter_map(admitted).collect::<Vec<_>>()
    });
    if let Ok(entries) = looking.await {
        context.writer.correct(node, entries).await;
    }
}
