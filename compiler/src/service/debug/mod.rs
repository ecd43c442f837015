//! The debug service: what the compiler wants of each node and what its agent says.

mod output;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use flock_compiler_core::outside_pod_cidrs;
use flock_proto::v1::debug_service_server::DebugService;
use flock_proto::{Outcome, v1};
use flock_shared::{NamespaceName, NodeName};
use futures::stream::{Stream, unfold};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::spawn_blocking;
use tonic::{Request, Response, Status};

use super::connection::ConnectionHandle;
use super::context::Context;
use super::render_limiter::{RenderLimiter, Rendered};
use crate::access::{Denied, Grant, Permission, Resource};
use crate::engine::{Desired, Presence, Published};
use crate::fleet::{AgentStatus, Fleet};
use crate::node_status::{behind_since, is_listed};

/// The service.
#[derive(Debug)]
pub(super) struct Debug {
    context: Context,
    render_limiter: Arc<RenderLimiter>,
}

impl Debug {
    pub(super) const fn new(context: Context, render_limiter: Arc<RenderLimiter>) -> Self {
        Self { context, render_limiter }
    }

    /// The connection that a request came on, if whoever sent it may ask for this.
    async fn admit<T>(
        &self,
        request: &Request<T>,
        permission: Permission,
    ) -> Result<(ConnectionHandle, Grant), Status> {
        let connection = ConnectionHandle::of(request.extensions())?;
        let admitting =
            self.context.access.client(request.metadata().as_ref(), connection.peer(), permission);
        let grant = connection.admit(admitting).await?;
        Ok((connection, grant))
    }

    /// The board's place of a node that is known, or has an agent.
    async fn known(&self, node: &NodeName) -> Result<Desired, Status> {
        let mut nodes = self.context.engine.nodes().await?;
        // An entry may be left of an agent that has gone, until it is swept.
        let is_left = |desired: &Desired| {
            let published = desired.borrow();
            let is_unknown = published.as_ref().is_some_and(|it| it.presence() == Presence::Unknown);
            is_unknown && !self.context.fleet.serves(node)
        };
        nodes.remove(node).filter(|desired| !is_left(desired)).ok_or_else(|| {
            let name = node.as_str();
            Status::not_found(format!(
                "no node {name:?}: it has no Node object, no pod and no connected agent"
            ))
        })
    }

    /// How many addresses of each node's pods are in none of its pod CIDRs; `None` while that cannot be told.
    async fn outside(&self) -> Option<BTreeMap<NodeName, u32>> {
        let engine = &self.context.engine;
        if !engine.is_ready() {
            return None;
        }
        let snapshot = engine.snapshot().await.ok()?;
        // It looks at every pod, which nobody else is to wait for.
        spawn_blocking(move || outside_pod_cidrs(&snapshot.mirrored.world)).await.ok()
    }

    /// Looks for a namespace, once it can be told which there are.
    async fn find(&self, namespace: &NamespaceName) -> Result<(), Status> {
        let engine = &self.context.engine;
        if !engine.is_ready() {
            return Ok(());
        }
        let wanted = namespace.clone();
        match engine.look(move |view| view.world.has_namespace(&wanted)).await? {
            true => Ok(()),
            false => Err(Status::not_found(format!("no namespace {:?}", namespace.as_str()))),
        }
    }

    async fn published(&self, node: &NodeName) -> Result<Arc<Published>, Status> {
        let published = self.known(node).await?.borrow().clone();
        published.ok_or_else(|| Status::unavailable("not every watched kind has been listed yet"))
    }
}

fn node_of(name: &str) -> Result<NodeName, Status> {
    NodeName::new(name).map_err(|error| Status::invalid_argument(format!("node: {error}")))
}

/// The namespace that a request is about; `None`: all.
fn namespace_of(name: &str) -> Result<Option<NamespaceName>, Status> {
    let namespace = (!name.is_empty()).then(|| NamespaceName::new(name)).transpose();
    namespace.map_err(|error| Status::invalid_argument(format!("namespace: {error}")))
}

/// An answer on its way: who does not read it loses the connection, and `room` is given back when it is out.
fn owed<T: prost::Message>(
    connection: &ConnectionHandle,
    message: T,
    room: Option<OwnedSemaphorePermit>,
) -> Response<T> {
    connection.owe(message.encoded_len() as u64, room);
    Response::new(message)
}

type Statuses = Pin<Box<dyn Stream<Item = Result<v1::NodeStatus, Status>> + Send>>;

#[tonic::async_trait]
impl DebugService for Debug {
    type WatchNodeStream = Statuses;

    async fn list_nodes(
        &self,
        request: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesResponse>, Status> {
        let (connection, _) = self.admit(&request, Permission::Get(Resource::NodeScripts(None))).await?;
        let context = &self.context;
        let replicas = context.replicas.count(&context.engine).await.unwrap_or_default();
        let progress = context.engine.replica_progress().borrow().clone();
        let desired = context.engine.nodes().await?;
        let agents = context.fleet.all();
        let outside = match request.get_ref().addresses {
            true => self.outside().await,
            false => None,
        };
        let names: BTreeSet<&NodeName> = desired.keys().chain(agents.keys()).collect();
        let nodes = names.into_iter().filter_map(|node| {
            let published = desired.get(node).and_then(|desired| desired.borrow().clone());
            let (published, agent) = (published.as_deref(), agents.get(node));
            let outside_pod_cidrs =
                outside.as_ref().map(|outside| outside.get(node).copied().unwrap_or_default());
            is_listed(published, agent)
                .then(|| v1::NodeStatus { outside_pod_cidrs, ..status(node, published, agent) })
        });
        let expiry = context.metrics.certificate_expires();
        let message = v1::ListNodesResponse {
            nodes: nodes.collect(),
            replicas,
            instance: context.fleet.instance().to_owned(),
            seen: progress.newest_change().to_string(),
            through: progress.read_through().to_string(),
            certificate_expiry: expiry.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
        };
        Ok(owed(&connection, message, None))
    }

    async fn get_script(
        &self,
        request: Request<v1::GetScriptRequest>,
    ) -> Result<Response<v1::GetScriptResponse>, Status> {
        let node = node_of(&request.get_ref().node)?;
        let (connection, _) =
            self.admit(&request, Permission::Get(Resource::NodeScripts(Some(node.clone())))).await?;
        let published = self.published(&node).await?;
        let revision = published.revision().to_string();
        // After the state was looked up, which costs nothing: whoever waits here holds no more than that.
        let permit = self.render_limiter.permit().await;
        let Rendered { script, room } = self.render_limiter.render(permit, move || published.full()).await;
        let sha256 = Bytes::copy_from_slice(script.hash().as_bytes());
        let served = self.context.fleet.serves(&node);
        let message = v1::GetScriptResponse { revision, script: script.bytes().clone(), sha256, served };
        Ok(owed(&connection, message, room))
    }

    async fn get_output(
        &self,
        request: Request<v1::GetOutputRequest>,
    ) -> Result<Response<v1::GetOutputResponse>, Status> {
        let node = node_of(&request.get_ref().node)?;
        let (connection, _) =
            self.admit(&request, Permission::Get(Resource::NodeScripts(Some(node.clone())))).await?;
        let published = self.published(&node).await?;
        let revision = published.revision().to_string();
        let served = self.context.fleet.serves(&node);
        let looking = self.context.engine.look(move |view| view.world.node_pods().get(&node).cloned());
        let told = looking.await?;
        let permit = self.render_limiter.permit().await;
        let make = move || {
            let output = Some(output::to_wire(published.output()));
            let attached = told.iter().flat_map(|told| told.sandboxes()).map(output::attached).collect();
            v1::GetOutputResponse { revision, output, attached, served }
        };
        let (message, room) = self.render_limiter.make(permit, make, prost::Message::encoded_len).await;
        Ok(owed(&connection, message, room))
    }

    async fn watch_node(&self, request: Request<v1::WatchNodeRequest>) -> Result<Response<Statuses>, Status> {
        let node = node_of(&request.get_ref().node)?;
        let (connection, grant) =
            self.admit(&request, Permission::Watch(Resource::NodeScripts(Some(node.clone())))).await?;
        let desired = self.known(&node).await?;
        let agent = self.context.fleet.watch(&node);
        let context = self.context.clone();
        let watched = NodeWatch { node, desired, agent, connection, grant, context, shown: None };
        Ok(Response::new(Box::pin(unfold(Some(watched), async |watched| {
            let mut watched = watched?;
            match watched.next().await? {
                Ok(status) => {
                    watched.connection.owe(prost::Message::encoded_len(&status) as u64, None);
                    Some((Ok(status), Some(watched)))
                }
                Err(denied) => Some((Err(denied.into()), None)),
            }
        }))))
    }

    async fn list_problems(
        &self,
        request: Request<v1::ListProblemsRequest>,
    ) -> Result<Response<v1::ListProblemsResponse>, Status> {
        let namespace = namespace_of(&request.get_ref().namespace)?;
        let permission = Permission::Get(Resource::PolicyExplanations(namespace.clone()));
        let (connection, _) = self.admit(&request, permission).await?;
        let problems = self.context.engine.problems().await?;
        if let Some(namespace) = &namespace
            && !problems.iter().any(|problem| problem.namespace.as_ref() == Some(namespace))
        {
            self.find(namespace).await?;
        }
        let asked = problems.into_iter().filter(|it| namespace.is_none() || it.namespace == namespace);
        let problems = asked.map(|problem| v1::Problem {
            source: problem.origin.as_deref().unwrap_or_default().to_owned(),
            object: problem.object,
            field: problem.field,
            message: problem.message,
            consequence: problem.consequence.to_string(),
        });
        let mut problems: Vec<v1::Problem> = problems.collect();
        if namespace.is_none() {
            problems.extend(closed(&self.context.fleet));
            problems.sort_by(|a, b| a.object.cmp(&b.object));
        }
        Ok(owed(&connection, v1::ListProblemsResponse { problems }, None))
    }
}

/// The nodes that refuse their tables.
fn closed(fleet: &Fleet) -> impl Iterator<Item = v1::Problem> {
    let closed = fleet.all().into_iter().filter_map(|(node, agent)| Some((node, agent.closed?)));
    closed.map(|(node, words)| v1::Problem {
        source: String::new(),
        object: format!("Node {node}"),
        field: String::new(),
        message: format!("nft on the node refuses its script: {}", words.lines().next().unwrap_or_default()),
        consequence: "its isolated pods are denied everything in their directions".to_owned(),
    })
}

/// A node that a client watches.
struct NodeWatch {
    node: NodeName,
    desired: Desired,
    agent: watch::Receiver<AgentStatus>,
    connection: ConnectionHandle,
    grant: Grant,
    context: Context,
    shown: Option<v1::NodeStatus>,
}

impl NodeWatch {
    /// Waits until there is something new to show; `None` when the compiler ends, the reason when nothing may be shown
    /// any more.
    async fn next(&mut self) -> Option<Result<v1::NodeStatus, Denied>> {
        loop {
            let published = self.desired.borrow_and_update().clone();
            let agent = self.agent.borrow_and_update().clone();
            let mut now = status(&self.node, published.as_deref(), Some(&agent));
            let count = self.context.replicas.count(&self.context.engine).await;
            now.replicas = count.unwrap_or_default();
            // Both sides change for reasons that show in nothing here.
            if self.shown.as_ref() != Some(&now) {
                self.shown = Some(now.clone());
                return Some(Ok(now));
            }
            tokio::select! {
                changed = self.desired.changed() => changed.ok()?,
                changed = self.agent.changed() => changed.ok()?,
                _ = self.context.stopping.wait_for(|stopping| *stopping) => return None,
                denied = self.grant.revoked() => {
                    self.connection.deauthenticated();
                    return Some(Err(denied));
                }
            }
        }
    }
}

fn status(node: &NodeName, published: Option<&Published>, agent: Option<&AgentStatus>) -> v1::NodeStatus {
    let time = |at: SystemTime| Some(prost_types::Timestamp::from(at));
    let duration = |took| prost_types::Duration::try_from(took).ok();
    let mut status = v1::NodeStatus { node: node.to_string(), ..v1::NodeStatus::default() };
    if let Some(published) = published {
        status.desired_revision = published.revision().to_string();
        status.desired_since = time(published.since());
        status.script_bytes = published.full_size().unwrap_or_default() as u64;
        status.unknown = published.presence() == Presence::Unknown;
        let owners = published.output().node_rules().owners.values();
        let pods: BTreeSet<_> = owners.flat_map(|pods| &**pods).collect();
        status.isolated_pods = u32::try_from(pods.len()).unwrap_or(u32::MAX);
    }
    if let Some(agent) = agent {
        status.connected = agent.stream.is_some();
        status.stream_since = agent.stream_since.and_then(time);
        status.behind_since = behind_since(published, agent).and_then(time);
        status.agent_version.clone_from(&agent.agent_version);
        status.nft_version.clone_from(&agent.nft_version);
        status.too_old = agent.is_too_old;
        status.drifts = agent.drifts.unwrap_or_default();
        status.not_judged = agent.unjudged(published).iter().map(ToString::to_string).collect();
        let enforcers = agent.facts.iter().flat_map(|facts| &facts.enforcers);
        status.enforcers = enforcers.cloned().collect();
        status.closed = agent.closed.clone().unwrap_or_default();
        status.last_took = agent.took.and_then(duration);
        if let Some((revision, since)) = &agent.applied {
            status.applied_revision = revision.to_string();
            status.applied_since = time(*since);
        }
        if let Some(failure) = &agent.failure {
            status.last_outcome = v1_outcome(failure.outcome);
            status.last_error.clone_from(&failure.error);
            status.last_error_at = time(failure.at);
        }
    }
    status
}

fn v1_outcome(outcome: Outcome) -> i32 {
    v1::Outcome::from(outcome).into()
}
