//! The port that answers probes: `/healthz` and `/readyz`, over HTTP, on loopback.
//!
//! Every process of the node may connect, so a connection is small, has a deadline as a whole, and makes room: where there are
//! as many as may be, the oldest one ends. A probe asks at once, so it is answered before it is the oldest.
//!
//! A port that is taken is no reason to end: the node would get no rules for the sake of a probe, and whoever wanted that would
//! only have to listen there first. It is said once and tried again. The probes meanwhile fail or are answered by somebody
//! else, neither of which stops enforcement; during a rolling update the agent before this one has ended first.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::readiness::{Contact, Enforcement, Readiness, Snapshot};
use flock_proto::NodeFacts;

/// Connections at once. Each may have a buffer of [`HEAD`].
const CONNECTIONS: usize = 32;
/// What a request may have of lines, in bytes; the least that the library takes.
const HEAD: usize = 8 << 10;
/// How long a connection may take, from its first byte to its last.
const LIFE: Duration = Duration::from_secs(5);
/// How soon it is tried again to listen.
const AGAIN: Duration = Duration::from_secs(2);
/// After an accept that failed: the process may be out of descriptors.
const RECOVER: Duration = Duration::from_millis(100);

/// Sees what the agent's parts say.
#[derive(Debug, Clone)]
pub struct Health {
    /// When the agent started.
    pub started: Instant,
    /// What the runner says.
    pub enforcement: watch::Receiver<Enforcement>,
    /// What the calls to the compiler come to.
    pub contact: watch::Receiver<Contact>,
    /// What the node is like.
    pub facts: watch::Receiver<Option<NodeFacts>>,
    /// What nft refuses.
    pub refused: watch::Receiver<Vec<String>>,
}

impl Health {
    /// Whether the node is ready at this moment.
    fn readiness(&self) -> Readiness {
        let snapshot = Snapshot {
            started: self.started,
            enforcement: self.enforcement.borrow().clone(),
            contact: self.contact.borrow().clone(),
            facts: self.facts.borrow().clone(),
            refused: self.refused.borrow().clone(),
        };
        snapshot.readiness(Instant::now())
    }
}

/// Answers probes until it is dropped.
#[derive(Debug)]
pub struct HealthPort {
    _task: JoinSet<()>,
}

impl HealthPort {
    /// Begins to listen.
    #[must_use]
    pub fn open(address: SocketAddr, health: Health) -> Self {
        let mut task = JoinSet::new();
        task.spawn(async move {
            let health = Arc::new(health);
            let mut has_complained = false;
            loop {
                match TcpListener::bind(address).await {
                    Ok(listener) => {
                        let address = listener.local_addr().unwrap_or(address);
                        info!(%address, "probes are answered");
                        has_complained = false;
                        serve(listener, &health).await;
                    }
                    Err(error) if !std::mem::replace(&mut has_complained, true) => {
                        warn!(%address, %error, "probes are not answered (--health-listen); it is tried again");
                    }
                    Err(_) => {}
                }
                sleep(AGAIN).await;
            }
        });
        Self { _task: task }
    }
}

/// Answers for as long as connections can be accepted.
async fn serve(listener: TcpListener, health: &Arc<Health>) {
    let mut tasks = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Such as too many open files, which passes.
            Err(_) => {
                sleep(RECOVER).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= CONNECTIONS
            && let Some(oldest) = oldest_first.pop_front()
        {
            // The oldest, so that silent ones cannot keep a probe out.
            oldest.abort();
        }
        let health = Arc::clone(health);
        oldest_first.push_back(tasks.spawn(converse(stream, health)));
    }
}

/// One request and its answer. What goes wrong is the caller's to notice.
async fn converse(stream: TcpStream, health: Arc<Health>) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&request, &health);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let _ = timeout(LIFE, connection).await;
}

fn answer(request: &Request<Incoming>, health: &Health) -> Response<Full<Bytes>> {
    let (status, text) = match request.uri().path() {
        "/healthz" | "/readyz" if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n".to_owned())
        }
        // That it is said is what it says.
        "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => {
            let readiness = health.readiness();
            let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (status, readiness.to_string())
        }
        _ => (StatusCode::NOT_FOUND, "/healthz or /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
