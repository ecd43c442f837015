//! A translation that is broken: what is published stays, and nobody is sent here until it is mended.

use flock_compiler_core::object::{Facts, Lifecycle, Node, Pod, PodNetwork};
use flock_compiler_core::{Labels, NodeChange, Output};
use flock_shared::{NodeName, PodKey};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::*;
use crate::access::Access;
use crate::admin::{self, Pages};
use crate::listen::Incoming;
use crate::service::{self, Context};

fn name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn broken(is_mended: bool) -> Pass {
    let broken = Broken { count: 3, first: "pod#7 is not there, somewhere.rs:1:1".to_owned(), is_mended };
    Pass { broken: Some(broken), ..Pass::default() }
}

/// An engine that has published what n1 should have, and the way to ask it.
async fn engine() -> (Engine, EngineHandle, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let (mut engine, handle) = Engine::new(Arc::clone(&metrics));
    for change in [
        Change::Node(Edit::Replace(vec![Node::new(name("n1"))])),
        Change::Namespace(Edit::Replace(Vec::new())),
        Change::Pod(Edit::Replace(Vec::new())),
        Change::Policy(Edit::Replace(Vec::new())),
        Change::NodePods(Edit::Replace(Vec::new())),
    ] {
        engine.translator.apply(change);
    }
    let engine = engine.publish().await.unwrap();
    assert!(handle.is_ready() && handle.is_sound());
    (engine, handle, metrics)
}

fn pod() -> Pod {
    Pod {
        key: PodKey::new("bank", "safe").unwrap(),
        uid: None,
        node: Some(name("n1")),
        labels: Labels::default(),
        network: PodNetwork::own(["10.0.0.1".parse().unwrap()].into(), None),
        lifecycle: Lifecycle::Live,
        ports: [].into(),
        scheduled: None,
        owner: Default::default(),
        faults: Vec::new(),
    }
}

fn revision(desired: &Desired) -> Option<flock_shared::Revision> {
    desired.borrow().as_ref().map(|published| published.revision().clone())
}

#[tokio::test]
async fn what_is_published_stays_until_a_translation_breaks_nothing() {
    let (mut engine, handle, metrics) = engine().await;
    let known = engine.node_states.subscribe(name("n1"), None);
    let (before, sequence) = (revision(&known), engine.node_states.sequence());
    // Even if it said something: nothing of a broken pass is published.
    let other =
        Arc::new(Output::empty(name("n1"), flock_compiler_core::output::Families { v4: true, v6: true }));
    let change = NodeChange { before: None, after: other, body: None };
    engine.take_over(Pass { changes: vec![change], ..broken(false) });
    assert!(handle.is_ready() && !handle.is_sound() && !*handle.soundness().borrow());
    assert_eq!((revision(&known), engine.node_states.sequence()), (before.clone(), sequence));
    assert_eq!(metrics.invariants.get(), 3);
    assert!(metrics.text().contains("\nflock_compiler_invariants_total 3\n"));
    // Of a node that is new nothing is said, least of all that nothing is isolated there.
    let (reply, answer) = oneshot::channel();
    engine.answer(Request::Subscribe(name("n2"), reply));
    let unknown = answer.await.unwrap();
    assert_eq!(revision(&unknown), None);
    // What agents say is heard, and has nothing tried again.
    let (reply, answer) = oneshot::channel();
    let facts = Facts::nothing_of(name("n1"));
    let mut engine = engine.serve(Request::SubscribeAgent(name("n1"), Some(facts), reply)).await.unwrap();
    assert_eq!(revision(&answer.await.unwrap()), before);
    assert!(!handle.is_sound());
    // The next change of the cluster is translated, and all is said.
    engine.translator.apply(Change::Pod(Edit::Upsert(pod())));
    engine = engine.publish().await.unwrap();
    assert!(handle.is_sound());
    assert_ne!(revision(&known), None);
    assert!(unknown.borrow().is_some() && engine.node_states.sequence() > sequence);
    assert_eq!(metrics.invariants.get(), 3);
}

#[tokio::test]
async fn what_was_mended_is_published_and_counted() {
    let (mut engine, handle, metrics) = engine().await;
    let sequence = engine.node_states.sequence();
    engine.take_over(broken(true));
    assert!(handle.is_sound() && engine.node_states.sequence() > sequence);
    assert_eq!(metrics.invariants.get(), 3);
}

type Incomings = mpsc::Sender<std::io::Result<Incoming<DuplexStream>>>;

async fn dial(connections: &Incomings) -> DuplexStream {
    let (client, server) = duplex(64 * 1024);
    connections.send(Ok(Incoming::trusted(server, None))).await.unwrap();
    client
}

/// Both ports of a compiler with an engine.
struct Ports {
    admin: Incomings,
    /// A server ends with its last connection, and that with this.
    _grpc: Incomings,
    health: HealthClient<Channel>,
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Ports {
    async fn new(engine: EngineHandle, metrics: Arc<Metrics>) -> Self {
        let (stop, stopping) = watch::channel(false);
        let context = Context::in_memory(engine, metrics, stopping);
        let (admin, to_admin) = mpsc::channel(4);
        let (grpc, to_grpc) = mpsc::channel(4);
        let mut tasks = JoinSet::new();
        let pages = Pages { context: context.clone(), access: Access::Open, certificate: None };
        tasks.spawn(async { admin::serve(ReceiverStream::new(to_admin), pages).await.unwrap() });
        tasks.spawn(async {
            service::serve(ReceiverStream::new(to_grpc), context, std::future::pending()).await.unwrap();
        });
        let mut io = Some(TokioIo::new(dial(&grpc).await));
        let connector =
            tower::service_fn(move |_: http::Uri| std::future::ready(io.take().ok_or("one only")));
        let channel =
            Endpoint::from_static("http://compiler").connect_with_connector(connector).await.unwrap();
        Self { admin, _grpc: grpc, health: HealthClient::new(channel), _stop: stop, _tasks: tasks }
    }

    /// What `/readyz` answers, and the health of the service of agents once that has changed from `before`.
    async fn say(&mut self, before: ServingStatus) -> (String, ServingStatus) {
        let mut admin = dial(&self.admin).await;
        admin.write_all(b"GET /readyz HTTP/1.1\r\nhost: compiler\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        admin.read_to_string(&mut answer).await.unwrap();
        let asked = HealthCheckRequest { service: "flock.netpol.v1.NodeService".to_owned() };
        let mut health = self.health.watch(asked).await.unwrap().into_inner();
        let other = async {
            loop {
                let status = match health.message().await.unwrap().unwrap().status {
                    1 => ServingStatus::Serving,
                    2 => ServingStatus::NotServing,
                    other => panic!("{other}"),
                };
                if status != before {
                    return status;
                }
            }
        };
        let status = tokio::time::timeout(Duration::from_secs(60), other).await.expect("the health changes");
        (answer.lines().next().unwrap().to_owned() + answer.lines().last().unwrap(), status)
    }
}

#[tokio::test]
async fn neither_port_says_ready_until_a_translation_breaks_nothing() {
    let (mut engine, handle, metrics) = engine().await;
    let mut ports = Ports::new(handle, metrics).await;
    let (ready, status) = ports.say(ServingStatus::NotServing).await;
    assert_eq!((&*ready, status), ("HTTP/1.1 200 OKok", ServingStatus::Serving));
    // Found broken, started from nothing, and broken again.
    engine.take_over(broken(false));
    let (ready, status) = ports.say(status).await;
    let why = "HTTP/1.1 503 Service Unavailablethe translation breaks an invariant: the log says which";
    assert_eq!((&*ready, status), (why, ServingStatus::NotServing));
    engine.translator.apply(Change::Pod(Edit::Upsert(pod())));
    let _engine = engine.publish().await.unwrap();
    let (ready, status) = ports.say(status).await;
    assert_eq!((&*ready, status), ("HTTP/1.1 200 OKok", ServingStatus::Serving));
}
