//! The agents' method on the wire: a request of messages in, a response of updates out.
//!
//! Done here rather than by generated code, because scripts are large and shared: they go into HTTP/2 as the bytes that
//! they are, without a copy for each stream, and a stream keeps nothing of them once they are out. (A gRPC encoder
//! keeps a buffer as large as the largest message that went through it for as long as its stream lives.)

use std::convert::Infallible;
use std::future::ready;
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use flock_proto::v1::node_service_server::SERVICE_NAME;
use flock_proto::{Framed, v1};
use futures::future::BoxFuture;
use futures::stream::{Stream, unfold};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
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

use super::link::{Held, Link};
use super::node::{Agent, Node};

/// The largest message that an agent may send: the sandboxes of a node. Hello and ack are small.
const MAX_REQUEST_BYTES: usize = 160 * 1024;

/// The largest call about a sandbox.
const MAX_CALL_BYTES: usize = 4 * 1024;

/// Where reading a message starts; acks without an error fit.
const READ_BUFFER: usize = 512;

/// The service as the server's router calls it.
#[derive(Debug, Clone)]
pub(super) struct Endpoint(pub(super) Node);

impl NamedService for Endpoint {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<Request<Body>> for Endpoint {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let refused = |status: Status| -> Self::Future { Box::pin(ready(Ok(status.into_http()))) };
        match request.uri().path().rsplit('/').next() {
            Some("Subscribe") => {
                Box::pin(ready(Ok(self.subscribe(request).unwrap_or_else(Status::into_http))))
            }
            Some("Attach") => self.attach(request).unwrap_or_else(refused),
            Some("Detach") => self.detach(request).unwrap_or_else(refused),
            _ => refused(Status::unimplemented(format!("{SERVICE_NAME} has no such method"))),
        }
    }
}

impl Endpoint {
    fn attach(&self, request: Request<Body>) -> Result<Answering, Status> {
        let (link, headers) = (link(&request)?, authorization(request.headers()));
        let calls = self.0.calls();
        Ok(unary(request, move |call| async move { calls.attach(&headers, &link, call).await }))
    }

    fn detach(&self, request: Request<Body>) -> Result<Answering, Status> {
        let (link, headers) = (link(&request)?, authorization(request.headers()));
        let calls = self.0.calls();
        Ok(unary(request, move |call| async move { calls.detach(&headers, &link, call).await }))
    }

    fn subscribe(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let link = link(&request)?;
        let (parts, body) = request.into_parts();
        let settings = BufferSettings::new(READ_BUFFER, READ_BUFFER);
        let decoder = ProstDecoder::<v1::AgentMessage>::new(settings);
        let messages = Streaming::new_request(decoder, body, None, Some(MAX_REQUEST_BYTES));
        let agent = self.0.agent(authorization(&parts.headers), link.clone(), messages);
        let mut response = Response::new(Body::new(StreamBody::new(frames(agent, link))));
        response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
        Ok(response)
    }
}

/// One call about a sandbox.
struct Unary<F>(Option<F>);

impl<M, R, F, T> UnaryService<M> for Unary<F>
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

type Answering = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// Reads a call, has `answer` answer it, and writes that.
fn unary<M, R, T>(request: Request<Body>, answer: impl FnOnce(M) -> T + Send + 'static) -> Answering
where
    M: prost::Message + Default + 'static,
    R: prost::Message + Default + 'static,
    T: Future<Output = Result<R, Status>> + Send + 'static,
{
    Box::pin(async move {
        let mut grpc = Grpc::new(ProstCodec::<R, M>::default()).max_decoding_message_size(MAX_CALL_BYTES);
        Ok(grpc.unary(Unary(Some(answer)), request).await)
    })
}

fn link(request: &Request<Body>) -> Result<Link, Status> {
    request
        .extensions()
        .get::<Link>()
        .cloned()
        .ok_or_else(|| Status::internal("a request without a connection"))
}

/// What shows who calls, and nothing else of a request's headers.
fn authorization(headers: &HeaderMap) -> HeaderMap {
    let mut shown = HeaderMap::new();
    for value in headers.get_all(AUTHORIZATION) {
        shown.append(AUTHORIZATION, value.clone());
    }
    shown
}

/// What a response still has to say.
struct Outgoing {
    agent: Agent,
    link: Link,
    /// The rest of an update.
    script: Bytes,
    /// The piece that HTTP/2 was handed last.
    held: Option<Held>,
}

/// The updates for an agent, and how its stream ends.
fn frames(agent: Agent, link: Link) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    let outgoing = Outgoing { agent, link, script: Bytes::new(), held: None };
    unfold(Some(outgoing), async |outgoing| {
        let mut outgoing = outgoing?;
        // HTTP/2 asks for more once it has taken what it was handed.
        outgoing.held = None;
        let piece = if outgoing.script.is_empty() {
            let update = match outgoing.agent.next().await {
                Ok(update) => update,
                Err(status) => return Some((Ok(Frame::trailers(trailers(&status))), None)),
            };
            let framed = Framed::from(update.update);
            outgoing.link.owe(framed.len() as u64, update.room);
            outgoing.script = framed.script;
            framed.head
        } else {
            std::mem::take(&mut outgoing.script)
        };
        outgoing.held = Some(outgoing.link.hold());
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
    use std::sync::Arc;

    use tokio::sync::watch;
    use tonic::transport::server::Connected as _;

    use super::super::{Context, Limits, link::Links, pace::Pace, panicked::Alarm};
    use super::*;
    use crate::engine::Engine;
    use crate::listen::Arrival;
    use crate::metrics::Metrics;

    /// Thousands of streams wait for months: what only their beginning needs is not theirs for as long.
    #[tokio::test]
    async fn a_stream_is_small() {
        let metrics = Arc::new(Metrics::default());
        let (_engine, engine) = Engine::new(Arc::clone(&metrics));
        let limits = Limits::default();
        let context = Context::in_memory(engine, metrics, watch::channel(false).1);
        let node = Node::new(context, Arc::new(Pace::new(&limits)), Alarm::default());
        let link = Links::default().wrap(Arrival::known(tokio::io::empty(), None)).connect_info();
        let settings = BufferSettings::new(READ_BUFFER, READ_BUFFER);
        let messages = Streaming::new_request(ProstDecoder::new(settings), Body::empty(), None, None);
        let stream = frames(node.agent(HeaderMap::new(), link.clone(), messages), link);
        let size = size_of_val(&stream);
        assert!(size <= 4096, "{size}");
    }
}
