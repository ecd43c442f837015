//! The admin port: metrics and probes over HTTP, on loopback in plain text, elsewhere with TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flock_compiler_core::Unjudged;
use flock_shared::NodeName;
use futures::{Stream, StreamExt as _};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;

use crate::access::{Access, Ask};
use crate::engine::Desired;
use crate::fleet::AgentStatus;
use crate::listen::Arrival;
use crate::service::Context;
use crate::tls::Certificate;

/// How long one connection may take: for one request, and nobody should have to wait for its answer.
const LIFE: Duration = Duration::from_secs(10);

/// What the pages need.
#[derive(Debug, Clone)]
pub struct Pages {
    /// What they show.
    pub context: Context,
    /// Who may read the metrics. Probes may be read by everybody.
    pub access: Access,
    /// The certificate without which there is no serving, if one is needed.
    pub certificate: Option<Certificate>,
}

/// Whose request it is.
#[derive(Debug, Clone, Copy)]
struct Peer(Option<IpAddr>);

/// Serves `/metrics`, `/healthz` and `/readyz` for as long as there are connections.
///
/// # Errors
/// When no connection can come any more.
pub async fn serve<C: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    connections: impl Stream<Item = io::Result<Arrival<C>>> + Send,
    pages: Pages,
) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        // A process whose engine has stopped ends, so one that answers is healthy.
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(pages));
    let mut open = JoinSet::new();
    let mut connections = std::pin::pin!(connections);
    while let Some(arrival) = connections.next().await {
        let Arrival { io, peer, stranger } = arrival?;
        let service = TowerToHyperService::new(router.clone().layer(Extension(Peer(peer))));
        open.spawn(async move {
            let connection =
                http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(io), service);
            let evicted = async {
                match &stranger {
                    Some(stranger) => stranger.evicted().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                // What goes wrong on it is the client's to notice.
                _ = timeout(LIFE, connection) => {}
                () = evicted => {}
            }
        });
        while open.try_join_next().is_some() {}
    }
    Ok(())
}

async fn metrics(
    State(pages): State<Arc<Pages>>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    if let Err(denied) = pages.access.client(&headers, peer, Ask::Page("/metrics")).await {
        let status = match denied.code() {
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        return (status, format!("{denied}\n")).into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text(&pages.context).await).into_response()
}

async fn text(context: &Context) -> String {
    if let Ok(desired) = context.engine.nodes().await {
        let agents = context.fleet.all();
        let (mut current, mut behind, mut closed, mut offline) = (0, 0, 0, 0);
        for (node, desired) in &desired {
            let agent = agents.get(node).filter(|agent| agent.stream.is_some());
            let applied = agent.and_then(|agent| agent.applied.as_ref()).map(|(revision, _)| revision);
            let published = desired.borrow();
            match (agent, published.as_ref().map(|published| published.revision())) {
                (None, _) => offline += 1,
                (Some(agent), _) if agent.closed.is_some() => closed += 1,
                (Some(_), wanted) if wanted.is_some() && wanted == applied => current += 1,
                (Some(_), _) => behind += 1,
            }
        }
        let states = [("current", current), ("behind", behind), ("closed", closed), ("offline", offline)];
        context.metrics.nodes(states);
        context.metrics.not_judged(not_judged(&desired, &agents));
    }
    context.metrics.text()
}

/// How many nodes have each reason for something to pass unjudged; reasons that none has are there, too.
fn not_judged(
    desired: &BTreeMap<NodeName, Desired>,
    agents: &BTreeMap<NodeName, AgentStatus>,
) -> BTreeMap<&'static str, i64> {
    let mut counts: BTreeMap<&str, i64> = Unjudged::REASONS.into_iter().map(|reason| (reason, 0)).collect();
    for (node, agent) in agents.iter().filter(|(_, agent)| agent.facts.is_some()) {
        let published = desired.get(node).and_then(|desired| desired.borrow().clone());
        let unjudged = agent.unjudged(published.as_deref());
        for reason in unjudged.iter().map(Unjudged::reason).collect::<BTreeSet<_>>() {
            *counts.entry(reason).or_default() += 1;
        }
    }
    counts
}

/// Whether agents may turn to this replica, and how old what it knows is. It stays ready while the API server is away:
/// what was read is still better than nothing, which is what a node that starts would get otherwise.
async fn readyz(State(pages): State<Arc<Pages>>) -> (StatusCode, String) {
    let (status, word) = readiness(&pages);
    let ages = pages.context.metrics.ages().into_iter().map(|(kind, age)| match age {
        Some(age) => format!("{kind}: heard of {:.1} s ago\n", age.as_secs_f64()),
        None => format!("{kind}: not heard of yet\n"),
    });
    (status, word.to_owned() + &ages.collect::<String>())
}

fn readiness(pages: &Pages) -> (StatusCode, &'static str) {
    if !pages.context.engine.is_ready() {
        (StatusCode::SERVICE_UNAVAILABLE, "not every watched kind has been listed yet\n")
    } else if pages.certificate.as_ref().is_some_and(|certificate| !certificate.is_there()) {
        (StatusCode::SERVICE_UNAVAILABLE, "there is no certificate yet\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}
