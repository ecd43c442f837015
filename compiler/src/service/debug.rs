//! The debug service: what the compiler wants of each node and what its agent says.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use flock_proto::v1::debug_service_server::DebugService;
use flock_proto::{Outcome, v1};
use flock_shared::{NamespaceName, NodeName};
use futures::stream::{Stream, unfold};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tonic::{Request, Response, Status};

use super::admission;
use super::link::Link;
use super::pace::{Pace, Rendered};
use super::panicked::Alarm;
use super::{Context, output};
use crate::access::{Ask, Denied, Pass, Resource};
use crate::engine::{Desired, EngineStopped, Presence, Published};
use crate::fleet::{AgentStatus, Fleet};

#[derive(Debug)]
pub(super) struct Debug {
    context: Context,
    pace: Arc<Pace>,
    alarm: Alarm,
}

impl Debug {
    pub(super) const fn new(context: Context, pace: Arc<Pace>, alarm: Alarm) -> Self {
        Self { context, pace, alarm }
    }

    /// The connection that a request came on, if whoever sent it may ask for this.
    async fn admit<T>(&self, request: &Request<T>, ask: Ask) -> Result<(Link, Pass), Status> {
        let link = request.extensions().get::<Link>();
        let link = link.ok_or_else(|| Status::internal("a request without a connection"))?;
        let admitting = self.context.access.client(request.metadata().as_ref(), link.peer(), ask);
        let pass = admission::admit(link, admitting).await?;
        Ok((link.clone(), pass))
    }

    /// The board's place of a node that is known, or has an agent.
    async fn known(&self, node: &NodeName) -> Result<Desired, Status> {
        let mut nodes = self.context.engine.nodes().await.map_err(stopped)?;
        nodes.remove(node).ok_or_else(|| {
            let name = node.as_str();
            Status::not_found(format!(
                "no node {name:?}: it has no Node object, no pod and no connected agent"
            ))
        })
    }

    async fn published(&self, node: &NodeName) -> Result<Arc<Published>, Status> {
        let published = self.known(node).await?.borrow().clone();
        published.ok_or_else(|| Status::unavailable("not every watched kind has been listed yet"))
    }
}

fn stopped(error: EngineStopped) -> Status {
    Status::unavailable(error.to_string())
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
fn owed<T: prost::Message>(link: &Link, message: T, room: Option<OwnedSemaphorePermit>) -> Response<T> {
    link.owe(message.encoded_len() as u64, room);
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
        let (link, _) = self.admit(&request, Ask::Get(Resource::NodeScripts(None))).await?;
        let desired = self.context.engine.nodes().await.map_err(stopped)?;
        let agents = self.context.fleet.all();
        let names: BTreeSet<&NodeName> = desired.keys().chain(agents.keys()).collect();
        let nodes = names.into_iter().map(|node| {
            let published = desired.get(node).and_then(|desired| desired.borrow().clone());
            status(node, published.as_deref(), agents.get(node))
        });
        Ok(owed(&link, v1::ListNodesResponse { nodes: nodes.collect() }, None))
    }

    async fn get_script(
        &self,
        request: Request<v1::GetScriptRequest>,
    ) -> Result<Response<v1::GetScriptResponse>, Status> {
        let node = node_of(&request.get_ref().node)?;
        let (link, _) = self.admit(&request, Ask::Get(Resource::NodeScripts(Some(node.clone())))).await?;
        let published = self.published(&node).await?;
        let revision = published.revision().to_string();
        let turn = self.pace.turn().await;
        let Rendered { script, room } = self.pace.render(turn, move || published.full()).await;
        let sha256 = Bytes::copy_from_slice(script.hash().as_bytes());
        let message = v1::GetScriptResponse { revision, script: script.bytes().clone(), sha256 };
        Ok(owed(&link, message, room))
    }

    async fn get_output(
        &self,
        request: Request<v1::GetOutputRequest>,
    ) -> Result<Response<v1::GetOutputResponse>, Status> {
        let node = node_of(&request.get_ref().node)?;
        let (link, _) = self.admit(&request, Ask::Get(Resource::NodeScripts(Some(node.clone())))).await?;
        let published = self.published(&node).await?;
        let revision = published.revision().to_string();
        let looking = self.context.engine.look(move |view| view.world.node_pods().get(&node).cloned());
        let told = looking.await.map_err(stopped)?;
        let turn = self.pace.turn().await;
        let make = move || {
            let output = Some(output::to_wire(published.output()));
            let attached = told.iter().flat_map(|told| told.sandboxes()).map(output::attached).collect();
            v1::GetOutputResponse { revision, output, attached }
        };
        let (message, room) = self.pace.make(turn, make, prost::Message::encoded_len).await;
        Ok(owed(&link, message, room))
    }

    async fn watch_node(&self, request: Request<v1::WatchNodeRequest>) -> Result<Response<Statuses>, Status> {
        let node = node_of(&request.get_ref().node)?;
        let (link, pass) =
            self.admit(&request, Ask::Watch(Resource::NodeScripts(Some(node.clone())))).await?;
        let desired = self.known(&node).await?;
        let agent = self.context.fleet.watch(&node);
        let stopping = self.context.stopping.clone();
        let watched =
            Watched { node, desired, agent, link, pass, stopping, shown: None, _alarm: self.alarm.clone() };
        Ok(Response::new(Box::pin(unfold(Some(watched), async |watched| {
            let mut watched = watched?;
            match watched.next().await? {
                Ok(status) => {
                    watched.link.owe(prost::Message::encoded_len(&status) as u64, None);
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
        let ask = Ask::Get(Resource::PolicyExplanations(namespace.clone()));
        let (link, _) = self.admit(&request, ask).await?;
        let problems = self.context.engine.problems().await.map_err(stopped)?;
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
        Ok(owed(&link, v1::ListProblemsResponse { problems }, None))
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
struct Watched {
    node: NodeName,
    desired: Desired,
    agent: watch::Receiver<AgentStatus>,
    link: Link,
    pass: Pass,
    stopping: watch::Receiver<bool>,
    shown: Option<v1::NodeStatus>,
    _alarm: Alarm,
}

impl Watched {
    /// Waits until there is something new to show; `None` when the compiler ends, the reason when nothing may be shown
    /// any more.
    async fn next(&mut self) -> Option<Result<v1::NodeStatus, Denied>> {
        loop {
            let published = self.desired.borrow_and_update().clone();
            let agent = self.agent.borrow_and_update().clone();
            let now = status(&self.node, published.as_deref(), Some(&agent));
            if self.shown.as_ref() != Some(&now) {
                self.shown = Some(now.clone());
                return Some(Ok(now));
            }
            tokio::select! {
                changed = self.desired.changed() => changed.ok()?,
                changed = self.agent.changed() => changed.ok()?,
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                denied = self.pass.revoked() => {
                    self.link.estrange();
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
        let owners = published.output().frame().owners.values();
        let pods: BTreeSet<_> = owners.flat_map(|pods| &**pods).collect();
        status.isolated_pods = u32::try_from(pods.len()).unwrap_or(u32::MAX);
    }
    if let Some(agent) = agent {
        status.connected = agent.stream.is_some();
        status.agent_version.clone_from(&agent.agent_version);
        status.nft_version.clone_from(&agent.nft_version);
        status.drifts = agent.drifts.unwrap_or_default();
        status.not_judged = agent.unjudged(published).iter().map(ToString::to_string).collect();
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
