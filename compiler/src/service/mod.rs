//! The gRPC services: the agents' stream, debugging, health and reflection.

mod admission;
mod attach;
mod caught_up;
mod debug;
mod flows;
mod limits;
mod link;
mod node;
mod output;
mod pace;
mod panicked;
mod quota;
mod session;
mod watchdog;
mod wire;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use flock_proto::v1::debug_service_server::DebugServiceServer;
use flock_proto::{DESCRIPTORS, MAX_MESSAGE_BYTES};
use futures::{Stream, TryStreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tonic::transport::Server;
use tonic_health::server::health_reporter;

pub use limits::Limits;

use crate::access::Access;
use crate::attach::{Keeper, Store};
use crate::engine::EngineHandle;
use crate::fleet::Fleet;
use crate::listen::Arrival;
use crate::metrics::Metrics;

use self::debug::Debug;
use self::link::Links;
use self::node::Node;
use self::pace::Pace;
use self::panicked::Alarm;
use self::wire::Endpoint;

/// How often an idle connection is pinged, and how long the answer may take: a dead peer is found within 30 s.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest request of a debug client: a name. It is read before anybody knows whose it is.
const MAX_REQUEST_BYTES: usize = 1024;

/// Bytes that a peer may send ahead of what has been read: the least that HTTP/2 has. Peers say little.
const WINDOW: u32 = 65_535;

/// Streams on one connection. An agent has one, and a call for each pod that starts; a debug client has a few. More wait.
const MAX_STREAMS: u32 = 64;

/// The headers of one request, in bytes; a token takes one or two thousand, 16 KiB at most.
const MAX_HEADERS: u32 = 20 * 1024;

/// How often the fleet forgets agents of nodes that are gone.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// What the services need.
#[derive(Debug, Clone)]
pub struct Context {
    /// The engine.
    pub engine: EngineHandle,
    /// Writes down what CNI does.
    pub keeper: Keeper,
    /// The agents' status.
    pub fleet: Arc<Fleet>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Who may ask.
    pub access: Access,
    /// Turns true when streams should end.
    pub stopping: watch::Receiver<bool>,
    /// Limits.
    pub limits: Limits,
}

impl Context {
    /// What serves everybody on loopback, and keeps what CNI does in memory.
    #[must_use]
    pub fn in_memory(engine: EngineHandle, metrics: Arc<Metrics>, stopping: watch::Receiver<bool>) -> Self {
        let fleet = Arc::new(Fleet::default());
        let keeper = Keeper::new(Store::memory(engine.clone()), engine.clone(), Arc::clone(&fleet));
        Self { engine, keeper, fleet, metrics, access: Access::Open, stopping, limits: Limits::default() }
    }
}

/// Why the server stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport failed.
    #[error("the gRPC server failed")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors of the protocol could not be read; they are part of the program.
    #[error("server reflection could not be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A stream panicked.
    #[error("a stream has panicked")]
    Panicked,
}

/// Serves on `connections` until `stop` resolves.
///
/// # Errors
/// [`ServeError`] says why the server stopped.
pub async fn serve<C: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    connections: impl Stream<Item = io::Result<Arrival<C>>> + Send,
    context: Context,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (health, health_service) = health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let (links, alarm, pace) = (Links::default(), Alarm::default(), Arc::new(Pace::new(&context.limits)));
    let node = Endpoint(Node::new(context.clone(), pace, alarm.clone()));
    let debug = DebugServiceServer::new(Debug::new(
        context.clone(),
        Arc::new(Pace::new(&context.limits)),
        alarm.clone(),
    ))
    .max_encoding_message_size(MAX_MESSAGE_BYTES)
    .max_decoding_message_size(MAX_REQUEST_BYTES);
    health.set_not_serving::<Endpoint>().await;
    health.set_serving::<DebugServiceServer<Debug>>().await;
    let mut ready = context.engine.readiness();
    let readiness = async {
        // An engine that stops ends the process; until then "not serving" stays true.
        if ready.wait_for(|ready| *ready).await.is_ok() {
            health.set_serving::<Endpoint>().await;
        }
        std::future::pending::<()>().await;
    };
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(Some(MAX_HEADERS))
        .add_service(node)
        .add_service(debug)
        .add_service(health_service)
        .add_service(reflection)
        .serve_with_incoming_shutdown(connections.map_ok(|arrival| links.wrap(arrival)), stop);
    tokio::select! {
        served = server => Ok(served?),
        () = alarm.gone_off() => Err(ServeError::Panicked),
        () = watchdog::watch(&links, &context.limits, &context.metrics) => Ok(()),
        () = forget(&context) => Ok(()),
        () = readiness => Ok(()),
    }
}

/// Forgets the agents of nodes that are gone, for as long as it is polled.
async fn forget(context: &Context) {
    let mut interval = interval(FORGET_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // Without an engine the process is about to end.
        if let Ok(nodes) = context.engine.nodes().await {
            context.fleet.forget(|node| !nodes.contains_key(node));
        }
    }
}
