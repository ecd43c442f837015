//! The debug service, which answers what the test says.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use flock_proto::v1;
use flock_proto::v1::debug_service_server::DebugService;
use flock_proto::v1::{ListNodesResponse, NodeStatus};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

/// What is answered, and what was shown and asked.
#[derive(Debug)]
pub struct DebugAnswers {
    /// The `authorization` of each request.
    pub authorizations: Mutex<Vec<String>>,
    /// The namespace of each request for problems.
    pub namespaces: Mutex<Vec<String>>,
    /// Answers everything, if there is one.
    pub refusal: Mutex<Option<Status>>,
    /// What it knows of nodes.
    pub nodes: watch::Sender<Vec<NodeStatus>>,
    /// The objects of its problems.
    pub problems: Mutex<Vec<String>>,
    /// What it says of itself beside its nodes.
    pub itself: Mutex<ListNodesResponse>,
}

impl Default for DebugAnswers {
    /// One node, which has what it should have, and one problem.
    fn default() -> Self {
        Self {
            authorizations: Mutex::default(),
            namespaces: Mutex::default(),
            refusal: Mutex::default(),
            nodes: watch::channel(vec![served("n1")]).0,
            problems: Mutex::new(vec!["NetworkPolicy shop/web".to_owned()]),
            itself: Mutex::default(),
        }
    }
}

/// A node that is served, and has what it should have.
#[must_use]
pub fn served(node: &str) -> NodeStatus {
    let revision = "0".repeat(32);
    NodeStatus { connected: true, applied_revision: revision, agent_version: "1".to_owned(), ..quiet(node) }
}

/// A node that is not.
#[must_use]
pub fn quiet(node: &str) -> NodeStatus {
    NodeStatus { node: node.to_owned(), desired_revision: "0".repeat(32), ..NodeStatus::default() }
}

pub(super) struct DebugServer(pub(super) Arc<DebugAnswers>);

impl DebugServer {
    fn hear<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let header = request.metadata().get("authorization");
        let header = header.map(|value| value.to_str().unwrap().to_owned());
        self.0.authorizations.lock().unwrap().push(header.unwrap_or_default());
        self.0.refusal.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

type Statuses = Pin<Box<dyn Stream<Item = Result<NodeStatus, Status>> + Send>>;

#[tonic::async_trait]
impl DebugService for DebugServer {
    type WatchNodeStream = Statuses;

    async fn list_nodes(
        &self,
        request: Request<v1::ListNodesRequest>,
    ) -> Result<Response<ListNodesResponse>, Status> {
        self.hear(&request)?;
        let itself = self.0.itself.lock().unwrap().clone();
        Ok(Response::new(ListNodesResponse { nodes: self.0.nodes.borrow().clone(), ..itself }))
    }

    async fn list_problems(
        &self,
        request: Request<v1::ListProblemsRequest>,
    ) -> Result<Response<v1::ListProblemsResponse>, Status> {
        self.hear(&request)?;
        let namespace = request.into_inner().namespace;
        self.0.namespaces.lock().unwrap().push(namespace.clone());
        if namespace == "forbidden" {
            return Err(Status::permission_denied(
                "user \"alice\" cannot get resource \"policyexplanations\"",
            ));
        }
        if namespace == "nosuch" {
            return Err(Status::not_found("no namespace \"nosuch\""));
        }
        let objects = self.0.problems.lock().unwrap().clone();
        let problems = objects.into_iter().map(|object| v1::Problem { object, ..v1::Problem::default() });
        Ok(Response::new(v1::ListProblemsResponse { problems: problems.collect() }))
    }

    async fn get_script(
        &self,
        request: Request<v1::GetScriptRequest>,
    ) -> Result<Response<v1::GetScriptResponse>, Status> {
        self.hear(&request)?;
        let node = &request.get_ref().node;
        let served = self.0.nodes.borrow().iter().any(|it| it.node == *node && it.connected);
        let script = if served { "add table inet flock_netpol\n" } else { "of another one\n" };
        let script = script.into();
        Ok(Response::new(v1::GetScriptResponse { script, served, ..v1::GetScriptResponse::default() }))
    }

    async fn get_output(
        &self,
        request: Request<v1::GetOutputRequest>,
    ) -> Result<Response<v1::GetOutputResponse>, Status> {
        self.hear(&request)?;
        Ok(Response::new(v1::GetOutputResponse::default()))
    }

    async fn watch_node(&self, request: Request<v1::WatchNodeRequest>) -> Result<Response<Statuses>, Status> {
        self.hear(&request)?;
        let node = request.into_inner().node;
        if !self.0.nodes.borrow().iter().any(|status| status.node == node) {
            return Err(Status::not_found(format!("no node {node:?}")));
        }
        let nodes = WatchStream::new(self.0.nodes.subscribe());
        let of_node = move |nodes: Vec<NodeStatus>| nodes.into_iter().find(|status| status.node == node);
        Ok(Response::new(Box::pin(nodes.filter_map(of_node).map(Ok))))
    }
}
