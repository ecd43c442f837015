//! The methods of agents on the wire: a request of messages in, a response of updates out.
//!
//! Done here rather than by generated code, because scripts are large and shared: they go into HTTP/2 as the bytes that
//! they are, without a copy for each stream, and a stream keeps nothing of them once they are out. (A gRPC encoder
//! keeps a buffer as large as the largest message that went through it for as long as its stream lives.)

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use flock_proto::v1::node_service_server::SERVICE_NAME;
use flock_proto::{Framed, v1};
use futures::future::BoxFuture;
use futures::stream::{Stream, unfold};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Streaming};
use tonic::codegen::Service;
use tonic::metadata::GRPC_CONTENT_TYPE;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic_prost::{ProstCodec, ProstDecoder};

use super::attach::AttachService;
use super::authenticate::{AgentMethod, AgentRequest};
use super::shared::NodeShared;
use super::stream::AgentStream;
use crate::service::connection::{ConnectionHandle, HeldMessage};

/// The largest message that an agent may send: the sandboxes of a node. Hello and ack are small.
const MAX_REQUEST_BYTES: usize = 160 * 1024;

/// The largest call about a sandbox.
const MAX_CALL_BYTES: usize = 4 * 1024;

/// Where reading a message starts; acks without an error fit.
const READ_BUFFER: usize = 512;

/// The methods, for agents that were let in.
#[derive(Debug, Clone)]
pub(in crate::service) struct NodeEndpoint(pub(super) Arc<NodeShared>);

impl NamedService for NodeEndpoint {
    const NAME: &'static str = SERVICE_NAME;
}

type Answering = BoxFuture<'static, Result<Response<Body>, Infallible>>;

impl Service<AgentRequest> for NodeEndpoint {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, AgentRequest { method, grant, connection, request }: AgentRequest) -> Answering {
        let shared = Arc::clone(&self.0);
        let service = AttachService { shared: Arc::clone(&self.0), grant, connection };
        match method {
            AgentMethod::Subscribe => {
                let AttachService { grant, connection, .. } = service;
                let messages = messages(request);
                let stream = AgentStream::new(shared, grant, connection.clone(), messages);
                let mut response = Response::new(Body::new(StreamBody::new(frames(stream, connection))));
                response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
                Box::pin(ready(Ok(response)))
            }
            AgentMethod::Attach => unary(request, |call| async move { service.attach(call).await }),
            AgentMethod::Detach => unary(request, |call| async move { service.detach(call).await }),
        }
    }
}

/// The messages of an agent, as they come.
fn messages(request: Request<Body>) -> Streaming<v1::AgentMessage> {
    let decoder = ProstDecoder::new(BufferSettings::new(READ_BUFFER, READ_BUFFER));
    Streaming::new_request(decoder, request.into_body(), None, Some(MAX_REQUEST_BYTES))
}

/// One call about a sandbox.
struct UnaryCall<F>(Option<F>);

impl<M, R, F, T> UnaryService<M> for UnaryCall<F>
where
    R: Send + 'static,
    F: FnOnce(M) -> T,
    T: Future<Output = Result<R, Status>> + Send + 'static,
{
    type Response = R;
    type Future = BoxFuture<'static, Result<tonic::Response<R>, Status>>;

    fn call(&mut self, request: tonic::Request<M>) -> Self::Future {
        let Some(call) = self.0.take() else {
            return Box::pin(async { Err(Status::internal("a call that was made before")) });
        };
        let answering = call(request.into_inner());
        Box::pin(async move { answering.await.map(tonic::Response::new) })
    }
}

/// Reads a call, has `answer` answer it, and writes that.
fn unary<M, R, T>(request: Request<Body>, answer: impl FnOnce(M) -> T + Send + 'static) -> Answering
where
    M: prost::Message + Default + 'static,
    R: prost::Message + Default + 'static,
    T: Future<Output = Result<R, Status>> + Send + 'static,
{
    Box::pin(async move {
        let mut grpc = Grpc::new(ProstCodec::<R, M>::default()).max_decoding_message_size(MAX_CALL_BYTES);
        Ok(grpc.unary(UnaryCall(Some(answer)), request).await)
    })
}

/// What a response still has to say.
struct Outgoing {
    stream: AgentStream,
    connection: ConnectionHandle,
    /// The rest of an update.
    script: Bytes,
    /// The piece that HTTP/2 was handed last.
    held: Option<HeldMessage>,
}

/// The updates for an agent, and how its stream ends.
fn frames(
    stream: AgentStream,
    connection: ConnectionHandle,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    let outgoing = Outgoing { stream, connection, script: Bytes::new(), held: None };
    unfold(Some(outgoing), async |outgoing| {
        let mut outgoing = outgoing?;
        // HTTP/2 asks for more once it has taken what it was handed.
        outgoing.held = None;
        let piece = if outgoing.script.is_empty() {
            let update = match outgoing.stream.next().await {
                Ok(update) => update,
                Err(status) => return Some((Ok(Frame::trailers(trailers(&status))), None)),
            };
            let framed = Framed::from(update.update);
            // All of it, before the first piece is handed over: else the connection would seem to have caught up in between.
            outgoing.connection.owe(framed.len() as u64, update.room);
            outgoing.script = framed.script;
            framed.head
        } else {
            std::mem::take(&mut outgoing.script)
        };
        outgoing.held = Some(outgoing.connection.hold());
        Some((Ok(Frame::data(piece)), Some(outgoing)))
    })
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // Only metadata can be at fault, and there is none.
        trailers.clear();
    }
    trailers
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;
    use tonic::transport::server::Connected as _;

    use super::*;
    use crate::access::Access;
    use crate::engine::Engine;
    use crate::listen::Incoming;
    use crate::metrics::Metrics;
    use crate::service::connection::{Connection, Connections};
    use crate::service::render_limiter::RenderLimiter;
    use crate::service::{Context, Limits};

    /// Thousands of streams wait for months: what only their beginning needs is not theirs for as long.
    #[tokio::test]
    async fn a_stream_is_small() {
        let metrics = Arc::new(Metrics::default());
        let (_engine, engine) = Engine::new(Arc::clone(&metrics));
        let context = Context::in_memory(engine, metrics, watch::channel(false).1);
        let grant = Access::Open.agent(&HeaderMap::new(), None).await.unwrap();
        let render_limiter = Arc::new(RenderLimiter::new(&Limits::default()));
        let shared = Arc::new(NodeShared::new(context, render_limiter));
        let connection =
            Connection::open(Incoming::trusted(tokio::io::empty(), None), &Connections::default())
                .connect_info();
        let messages = messages(Request::new(Body::empty()));
        let stream = frames(AgentStream::new(shared, grant, connection.clone(), messages), connection);
        let size = size_of_val(&stream);
        assert!(size <= 4096, "{size}");
    }
}
