//! The compiler's library in the test's process, with little patience for acks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flock_compiler::engine::Engine;
use flock_compiler::listen;
use flock_compiler::metrics::Metrics;
use flock_compiler::service::{self, Context, Limits};
use flock_compiler::source::Source as _;
use flock_compiler::source::manifests::ManifestsSource;
use flock_convert::HostInterfaces;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

/// How long an ack may take.
const ACK_LIMIT: Duration = Duration::from_secs(1);

/// A compiler that listens on a loopback port until it is dropped.
pub(super) struct Impatient {
    /// `http://127.0.0.1:PORT`.
    pub(super) url: String,
    _stop: watch::Sender<bool>,
    _runtime: Runtime,
}

impl Impatient {
    /// Serves what a directory of manifests says.
    pub(super) fn start(manifests: &Path) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let metrics = Arc::<Metrics>::default();
        let (engine, handle) = Engine::new(Arc::clone(&metrics));
        let (events, incoming) = mpsc::channel(64);
        let (stop, stopping) = watch::channel(false);
        let context = Context {
            limits: Limits { ack: ACK_LIMIT, ..Limits::default() },
            ..Context::in_memory(handle, metrics, stopping)
        };
        runtime.spawn(ManifestsSource::new(manifests.to_owned(), HostInterfaces::None).run(events));
        runtime.spawn(engine.run(incoming));
        runtime.spawn(service::serve(listen::plain(listener), context, std::future::pending()));
        Self { url, _stop: stop, _runtime: runtime }
    }
}
