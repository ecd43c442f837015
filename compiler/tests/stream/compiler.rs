//! The engine and the services in this process.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use flock_ask::ServiceAddresses;
use flock_compiler::engine::{Desired, Engine};
use flock_compiler::listen::Incoming;
use flock_compiler::metrics::Metrics;
use flock_compiler::service::{Context, Limits, serve};
use flock_compiler::source::SourceEvent;
use flock_compiler_core::{Change, Edit};
use flock_proto::Hello;
use flock_shared::Revision;
use flock_testkit::agent::FakeAgent;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use super::agent::{self, hello_of};
use super::objects::{cluster, node_name, pod};
use super::pipe::{Pipe, Wire};

/// Far beyond every limit.
pub(super) const PATIENCE: Duration = Duration::from_secs(3600);

/// Bytes that a connection holds between its ends, as sockets do.
const SOCKET: usize = 64 * 1024;

pub(super) async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing happened")
}

/// The address of the API server's Service.
pub(super) const API_SERVER: &str = "10.96.0.1";

/// Dropping it ends all of it.
pub(super) struct Compiler {
    pub(super) context: Context,
    events: mpsc::Sender<SourceEvent>,
    connections: mpsc::Sender<io::Result<Incoming<DuplexStream>>>,
    nodes: usize,
    pods: usize,
    tasks: JoinSet<()>,
    _stop: watch::Sender<bool>,
}

impl Compiler {
    /// A compiler of so many nodes that is ready.
    pub(super) async fn start(nodes: usize, limits: Limits) -> Self {
        Self::start_with(nodes, 0, limits).await
    }

    /// The same, with more pods on a node that has no agent: they are in every node's script.
    pub(super) async fn start_with(nodes: usize, elsewhere: usize, limits: Limits) -> Self {
        Self::start_of(cluster(nodes, elsewhere), nodes, nodes + elsewhere, limits).await
    }

    /// A compiler that is told these listings of a cluster of so many nodes and pods.
    pub(super) async fn start_of(
        listings: Vec<SourceEvent>,
        nodes: usize,
        pods: usize,
        limits: Limits,
    ) -> Self {
        let metrics = Arc::new(Metrics::default());
        let (engine, handle) = Engine::new(Arc::clone(&metrics));
        let (events, incoming) = mpsc::channel(64);
        let (connections, accepted) = mpsc::channel(64);
        let (stop, stopping) = watch::channel(false);
        let services = Arc::new(ServiceAddresses::of_api_server(API_SERVER));
        let context = Context { limits, services, ..Context::in_memory(handle, metrics, stopping) };
        let serving = serve(ReceiverStream::new(accepted), context.clone(), std::future::pending());
        let mut tasks = JoinSet::new();
        tasks.spawn(async { serving.await.expect("the services ended") });
        tasks.spawn(async { drop(engine.run(incoming).await) });
        let compiler = Self { context, events, connections, nodes, pods, tasks, _stop: stop };
        for event in listings {
            compiler.tell(event).await;
        }
        patiently(compiler.context.engine.readiness().wait_for(|ready| *ready)).await.unwrap();
        compiler
    }

    pub(super) async fn tell(&self, event: SourceEvent) {
        self.events.send(event).await.unwrap();
    }

    /// What a node should have.
    pub(super) async fn desired(&self, node: usize) -> Desired {
        self.context.engine.subscribe(node_name(node)).await.unwrap()
    }

    pub(super) async fn revision(&self, node: usize) -> Revision {
        self.desired(node).await.borrow().as_ref().unwrap().revision().clone()
    }

    /// Adds a pod, and waits until every node has another state.
    pub(super) async fn change(&mut self) {
        let mut desired = self.desired(0).await;
        let pod = pod(self.pods, 0);
        self.pods += 1;
        self.tell(Change::Pod(Edit::Upsert(pod)).into()).await;
        patiently(desired.changed()).await.unwrap();
    }

    /// Adds so many pods at once, and waits until every node has another state.
    pub(super) async fn grow(&mut self, by: usize) {
        let mut desired = self.desired(0).await;
        let pods = (0..self.pods + by).map(|number| pod(number, number.min(self.nodes))).collect();
        self.pods += by;
        self.tell(Change::Pod(Edit::Replace(pods)).into()).await;
        patiently(desired.changed()).await.unwrap();
    }

    /// A connection, with the settings of a real agent.
    pub(super) async fn dial(&self) -> (Channel, Wire) {
        self.dial_with(|endpoint| endpoint).await
    }

    pub(super) async fn dial_with(&self, settings: impl Fn(Endpoint) -> Endpoint) -> (Channel, Wire) {
        let (client, server) = tokio::io::duplex(SOCKET);
        self.connections.send(Ok(Incoming::trusted(server, None))).await.unwrap();
        let wire = Wire::default();
        let mut pipe = Some(Pipe { io: client, wire: wire.clone() });
        let connector = tower::service_fn(move |_: Uri| {
            let pipe = pipe.take().map(TokioIo::new);
            async move { pipe.ok_or_else(|| io::Error::other("one connection only")) }
        });
        let endpoint = settings(
            Endpoint::from_static("http://127.0.0.1:7443")
                .http2_keep_alive_interval(Duration::from_secs(10))
                .keep_alive_timeout(Duration::from_secs(20))
                .keep_alive_while_idle(true),
        );
        (patiently(endpoint.connect_with_connector(connector)).await.unwrap(), wire)
    }

    /// An agent that has said hello.
    pub(super) async fn agent(&self, node: usize, applied: Option<Revision>) -> FakeAgent {
        agent::open(self.dial().await.0, Hello { applied, ..hello_of(node) }).await
    }

    /// The value of a metric with its labels, as `/metrics` shows it.
    pub(super) fn metric(&self, name: &str) -> u64 {
        let text = self.context.metrics.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has a value.
    pub(super) async fn until(&self, name: &str, value: u64) {
        patiently(async {
            while self.metric(name) != value {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        // A task that has panicked has failed the test already, if anything depended on it.
        self.tasks.abort_all();
    }
}
