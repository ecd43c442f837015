//! The gRPC services: the agents' stream, debugging, health and reflection.

mod caught_up;
mod debug;
mod node;
mod output;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use flock_proto::v1::debug_service_server::DebugServiceServer;
use flock_proto::v1::node_service_server::NodeServiceServer;
use flock_proto::{DESCRIPTORS, MAX_MESSAGE_BYTES};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_health::server::health_reporter;

use crate::engine::EngineHandle;
use crate::fleet::Fleet;
use crate::metrics::Metrics;

use self::debug::Debug;
use self::node::Node;

/// How often an idle connection is pinged, and how long the answer may take: a dead peer is found within 30 s.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest message that an agent or debug client may send: hello, ack and requests are small.
const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// What the services need.
#[derive(Debug, Clone)]
pub struct Context {
    /// The engine.
    pub engine: EngineHandle,
    /// The agents' status.
    pub fleet: Arc<Fleet>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Turns true when streams should end.
    pub stopping: watch::Receiver<bool>,
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
}

/// Serves on `listener` until `stop` resolves.
///
/// # Errors
/// [`ServeError`] says why the server stopped.
pub async fn serve(
    listener: TcpListener,
    context: Context,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (health, health_service) = health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let node = NodeServiceServer::new(Node::new(context.clone()))
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    let debug = DebugServiceServer::new(Debug::new(context.clone()))
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    health.set_not_serving::<NodeServiceServer<Node>>().await;
    health.set_serving::<DebugServiceServer<Debug>>().await;
    let mut ready = context.engine.readiness();
    let readiness = async {
        // An engine that stops ends the process; until then "not serving" stays true.
        if ready.wait_for(|ready| *ready).await.is_ok() {
            health.set_serving::<NodeServiceServer<Node>>().await;
        }
        std::future::pending::<()>().await;
    };
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .tcp_nodelay(true)
        .add_service(node)
        .add_service(debug)
        .add_service(health_service)
        .add_service(reflection)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop);
    tokio::select! {
        served = server => Ok(served?),
        () = readiness => Ok(()),
    }
}
