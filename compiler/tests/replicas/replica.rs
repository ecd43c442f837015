//! A whole compiler in this process: source, engine and services, put together as `serve` does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flock_compiler::attach::{AttachmentWriter, Store};
use flock_compiler::engine::{Engine, EngineHandle};
use flock_compiler::listen;
use flock_compiler::metrics::Metrics;
use flock_compiler::service::{self, Context};
use flock_compiler::source::Source as _;
use flock_compiler::source::kubernetes::{KubernetesSource, WatchSettings, client};
use flock_convert::HostInterfaces;
use flock_shared::Revision;
use flock_shared::backoff::Backoff;
use flock_testkit::wait_until;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::agent::NODE;

pub(super) struct Replica {
    pub(super) url: String,
    pub(super) engine: EngineHandle,
    pub(super) metrics: Arc<Metrics>,
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Replica {
    /// One that follows the API server at `address` and has published what is there.
    pub(super) async fn start(address: SocketAddr) -> Self {
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        let backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(50));
        let settings = WatchSettings { backoff, ..WatchSettings::default() };
        let client = client(config).unwrap();
        let source = KubernetesSource::with_settings(client.clone(), HostInterfaces::None, settings);
        let metrics = Arc::new(Metrics::default());
        let (engine, handle) = Engine::new(Arc::clone(&metrics));
        let (events, incoming) = mpsc::channel(64);
        let (stop, stopping) = watch::channel(false);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (engine_handle, shown) = (handle.clone(), Arc::clone(&metrics));
        let context = Context::in_memory(handle, metrics, stopping);
        let store = Store::cluster(client);
        let writer = AttachmentWriter::new(store, context.engine.clone(), Arc::clone(&context.fleet));
        let context = Context { writer, ..context };
        let mut tasks = JoinSet::new();
        tasks.spawn(async { source.run(events).await.unwrap() });
        tasks.spawn(async { engine.run(incoming).await.unwrap() });
        tasks.spawn(async {
            service::serve(listen::plain(listener), context, std::future::pending()).await.unwrap();
        });
        engine_handle.readiness().wait_for(|ready| *ready).await.unwrap();
        Self { url, engine: engine_handle, metrics: shown, _stop: stop, _tasks: tasks }
    }

    /// What it wants of the node.
    pub(super) async fn revision(&self) -> Revision {
        let desired = self.engine.subscribe(NODE.parse().unwrap()).await.unwrap();
        desired.borrow().as_ref().unwrap().revision().clone()
    }

    /// Waits until it wants something else of the node than `before`; what that is.
    pub(super) async fn other_than(&self, before: &Revision) -> Revision {
        let mut desired = self.engine.subscribe(NODE.parse().unwrap()).await.unwrap();
        let is_other = |published: &Option<Arc<flock_compiler::engine::Published>>| {
            published.as_ref().is_some_and(|published| published.revision() != before)
        };
        desired.wait_for(is_other).await.unwrap().as_ref().unwrap().revision().clone()
    }

    /// Waits until so many agents wait for it to catch up.
    pub(super) async fn until_waiting(&self, agents: i64) {
        let what = format!("{agents} agents wait");
        wait_until(&what, || self.metrics.waiting.get() == agents).await.unwrap();
    }
}
