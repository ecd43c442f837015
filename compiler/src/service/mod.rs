//! The gRPC services: what agents call, debugging, health and reflection.
//!
//! ```text
//! listen ─▶ Connection ─ HTTP/2 ─▶ peers that need not authenticate ─┬─▶ authenticate ─▶ node
//!           (limits, backlog)      (tower, all services)             ├─▶ debug: lets in by method
//!                                                                    ├─▶ authenticate ─▶ ask: lets in by what is asked
//!                                                                    └─▶ health, reflection: anybody
//! ```
//!
//! A panic ends the process of a release, which is built to abort, and kubelet starts it again. In a debug build HTTP/2 ends
//! the connection that it happened on, and tests see that.

mod ask;
mod connection;
mod context;
mod debug;
mod limits;
mod node;
mod render_limiter;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use flock_proto::v1::debug_service_server::DebugServiceServer;
use flock_proto::{DESCRIPTORS, MAX_MESSAGE_BYTES};
use futures::{Stream, TryStreamExt as _};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Server;
use tonic_health::server::{HealthReporter, health_reporter};
use tower::util::MapRequestLayer;

pub use context::Context;
pub use limits::Limits;

use crate::access::Access;
use crate::engine::EngineStopped;
use crate::listen::Incoming;

use self::connection::{Connection, ConnectionHandle, Connections};
use self::debug::Debug;
use self::node::NodeEndpoint;
use self::render_limiter::RenderLimiter;

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

/// Why the server stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport failed.
    #[error("the gRPC server failed")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors of the protocol could not be read; they are part of the program.
    #[error("server reflection could not be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves on connections as they come, until `stop` resolves.
///
/// # Errors
/// [`ServeError`] says why the server stopped.
pub async fn serve<C: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    incoming: impl Stream<Item = io::Result<Incoming<C>>> + Send,
    context: Context,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (health, health_service) = health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let connections = Connections::default();
    // Debug clients and agents do not wait for each other.
    let [for_agents, for_clients] = [(); 2].map(|()| Arc::new(RenderLimiter::new(&context.limits)));
    let debug = DebugServiceServer::new(Debug::new(context.clone(), for_clients))
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    // Agents are served once the world is complete; who debugs may look at it before.
    health.set_not_serving::<NodeEndpoint>().await;
    health.set_serving::<DebugServiceServer<Debug>>().await;
    // Where nobody is asked who they are, whoever asks for something need not show it.
    let asks_nobody = matches!(context.access, Access::Open);
    let authenticating = MapRequestLayer::new(move |request: Request<Body>| {
        if asks_nobody && let Ok(connection) = ConnectionHandle::of(request.extensions()) {
            connection.authenticated();
        }
        request
    });
    let server = Server::builder()
        .layer(authenticating)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(Some(MAX_HEADERS))
        .add_service(node::service(context.clone(), for_agents))
        .add_service(debug)
        .add_service(ask::service(context.clone()))
        .add_service(health_service)
        .add_service(reflection)
        .serve_with_incoming_shutdown(incoming.map_ok(|it| Connection::open(it, &connections)), stop);
    tokio::select! {
        served = server => Ok(served?),
        () = connection::watch(&connections, &context.limits, &context.metrics) => Ok(()),
        () = forget(&context) => Ok(()),
        () = report_health(&context, &health) => Ok(()),
    }
}

/// Says by gRPC's health service whether agents may turn to this replica, for as long as it is polled.
async fn report_health(Context { engine, checked, .. }: &Context, health: &HealthReporter) {
    let (mut ready, mut sound, mut checked) = (engine.readiness(), engine.soundness(), checked.clone());
    // An engine that stops ends the process; until then what was said last stays true.
    if ready.wait_for(|ready| *ready).await.is_ok() && checked.wait_for(|checked| *checked).await.is_ok() {
        loop {
            let is_sound = *sound.borrow_and_update();
            if is_sound {
                health.set_serving::<NodeEndpoint>().await;
            } else {
                health.set_not_serving::<NodeEndpoint>().await;
            }
            if sound.changed().await.is_err() {
                break;
            }
        }
    }
    std::future::pending::<()>().await;
}

impl From<EngineStopped> for Status {
    fn from(error: EngineStopped) -> Self {
        Self::unavailable(error.to_string())
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
            context.drops.forget(|node| !nodes.contains_key(node));
        }
    }
}
