//! The agents' method on the wire: a request of messages in, a response of updates out.
//!
//! Done here rather than by generated code, because scripts are large and shared: they go into HTTP/2 as the bytes that
//! they are, without a copy for each stream, and a stream keeps nothing of them once they are out. (A gRPC encoder
//! keeps a buffer as large as the largest message that went through it for as long as its stream lives.)

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context as Task, Poll};

use bytes::Bytes;
use flock_proto::v1::node_service_server::SERVICE_NAME;
use flock_proto::{Framed, v1};
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
use tonic::server::NamedService;
use tonic_prost::ProstDecoder;

use super::link::{Held, Link};
use super::node::{Agent, Node};

/// The one method of the service.
const METHOD: &str = "Subscribe";

/// The largest message that an agent may send: hello and ack are small.
const MAX_REQUEST_BYTES: usize = 64 * 1024;

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
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        ready(Ok(self.subscribe(request).unwrap_or_else(Status::into_http)))
    }
}

impl Endpoint {
    fn subscribe(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        if parts.uri.path().rsplit('/').next() != Some(METHOD) {
            return Err(Status::unimplemented(format!("{SERVICE_NAME} has no such method")));
        }
        let Some(link) = parts.extensions.get::<Link>() else {
            return Err(Status::internal("a request without a connection"));
        };
        let settings = BufferSettings::new(READ_BUFFER, READ_BUFFER);
        let decoder = ProstDecoder::<v1::AgentMessage>::new(settings);
        let messages = Streaming::new_request(decoder, body, None, Some(MAX_REQUEST_BYTES));
        let mut headers = HeaderMap::new();
        for value in parts.headers.get_all(AUTHORIZATION) {
            headers.append(AUTHORIZATION, value.clone());
        }
        let agent = self.0.agent(headers, link.clone(), messages);
        let mut response = Response::new(Body::new(StreamBody::new(frames(agent, link.clone()))));
        response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
        Ok(response)
    }
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
    use crate::access::Access;
    use crate::engine::Engine;
    use crate::fleet::Fleet;
    use crate::listen::Arrival;
    use crate::metrics::Metrics;

    /// Thousands of streams wait for months: what only their beginning needs is not theirs for as long.
    #[tokio::test]
    async fn a_stream_is_small() {
        let metrics = Arc::new(Metrics::default());
        let (_engine, engine) = Engine::new(Arc::clone(&metrics));
        let limits = Limits::default();
        let (fleet, stopping) = (Arc::new(Fleet::default()), watch::channel(false).1);
        let context = Context { engine, fleet, metrics, stopping, access: Access::Open, limits };
        let node = Node::new(context, Arc::new(Pace::new(&limits)), Alarm::default());
        let link = Links::default().wrap(Arrival::known(tokio::io::empty(), None)).connect_info();
        let settings = BufferSettings::new(READ_BUFFER, READ_BUFFER);
        let messages = Streaming::new_request(ProstDecoder::new(settings), Body::empty(), None, None);
        let stream = frames(node.agent(HeaderMap::new(), link.clone(), messages), link);
        let size = size_of_val(&stream);
        assert!(size <= 4096, "{size}");
    }
}
