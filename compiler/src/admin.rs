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
use flock_proto::NodeState;
use flock_shared::NodeName;
use futures::{Stream, StreamExt as _};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;

use crate::access::{Access, Permission};
use crate::engine::Desired;
use crate::fleet::AgentStatus;
use crate::listen::Incoming;
use crate::node_status;
use crate::readiness::Readiness;
use crate::replicas;
use crate::service::Context;
use crate::tls::Certificate;

/// How long one connection may take: for one request, and nobody should have to wait for its answer.
const LIFE: Duration = Duration::from_secs(10);

/// How long the engine may take to say that it is alive, less than a connection lives. A pass over a whole cluster takes a few
/// seconds, and is waited for.
const ANSWER: Duration = Duration::from_secs(8);

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
    connections: impl Stream<Item = io::Result<Incoming<C>>> + Send,
    pages: Pages,
) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(pages));
    // By hand rather than by axum's server: a connection is evicted, and has a time limit, as a whole. tower's limits are of
    // requests, and a peer that is silent makes none.
    let mut open = JoinSet::new();
    let mut connections = std::pin::pin!(connections);
    while let Some(incoming) = connections.next().await {
        let Incoming { io, peer, unauthenticated, permit } = incoming?;
        let service = TowerToHyperService::new(router.clone().layer(Extension(Peer(peer))));
        open.spawn(async move {
            let _permit = permit;
            let connection =
                http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(io), service);
            let evicted = async {
                match &unauthenticated {
                    Some(unauthenticated) => unauthenticated.evicted().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                // What goes wrong on it is the client's to notice.
                _ = timeout(LIFE, connection) => {}
                () = evicted => {}
            }
        });
        // What has ended is taken out of the set, which would keep it for ever.
        while open.try_join_next().is_some() {}
    }
    Ok(())
}

async fn metrics(
    State(pages): State<Arc<Pages>>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    if let Err(denied) = pages.access.client(&headers, peer, Permission::Page("/metrics")).await {
        let status = match denied.code() {
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        return (status, format!("{denied}\n")).into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text(&pages).await).into_response()
}

async fn text(pages: &Pages) -> String {
    let context = &pages.context;
    context.metrics.ready(readiness(pages));
    if let Ok(desired) = context.engine.nodes().await {
        let agents = context.fleet.all();
        let others = replicas::others(context.replicas.count(&context.engine).await);
        let mut states: BTreeMap<NodeState, i64> = NodeState::ALL.into_iter().map(|it| (it, 0)).collect();
        for (node, desired) in &desired {
            let (published, agent) = (desired.borrow(), agents.get(node));
            if node_status::is_listed(published.as_deref(), agent) {
                *states.entry(node_status::state(published.as_deref(), agent, others)).or_default() += 1;
            }
        }
        context.metrics.nodes(states);
        context.metrics.not_judged(not_judged(&desired, &agents));
        context.metrics.behind(longest_behind(&desired, &agents));
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

/// Says if the process is alive: its engine, which everything waits for, answers. That it has not stopped need not be looked
/// at, since the process would have ended. Neither the API server nor agents matter.
async fn healthz(State(pages): State<Arc<Pages>>) -> (StatusCode, &'static str) {
    match timeout(ANSWER, pages.context.engine.nodes()).await {
        // An engine that has stopped ends the process by itself. One that hangs is what a restart mends.
        Ok(_) => (StatusCode::OK, "ok\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the engine does not answer\n"),
    }
}

/// How long the node has been behind that has been so for longest, of those whose agents are here.
fn longest_behind(
    desired: &BTreeMap<NodeName, Desired>,
    agents: &BTreeMap<NodeName, AgentStatus>,
) -> Duration {
    // A node without a stream here may be served by another replica.
    let connected = agents.iter().filter(|(_, agent)| agent.stream.is_some());
    let since = connected.filter_map(|(node, agent)| {
        let published = desired.get(node)?.borrow().clone()?;
        node_status::behind_since(Some(&published), agent)
    });
    since.min().and_then(|since| since.elapsed().ok()).unwrap_or_default()
}

/// Says if agents may turn to this replica, and how old what it knows is. It stays ready while the API server is away:
/// what was read is still better than nothing, which is what a node that starts would get otherwise. Not so if the server is
/// well and this replica alone cannot read it: the others know more.
async fn readyz(State(pages): State<Arc<Pages>>) -> (StatusCode, String) {
    let readiness = readiness(&pages);
    let status = match readiness {
        Readiness::Ready => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let ages = pages.context.metrics.ages().into_iter().map(|(kind, age)| match age {
        Some(age) => format!("{kind}: heard of {:.1} s ago\n", age.as_secs_f64()),
        None => format!("{kind}: not heard of yet\n"),
    });
    (status, format!("{}\n{}", readiness.sentence(), ages.collect::<String>()))
}

fn readiness(pages: &Pages) -> Readiness {
    if !pages.context.engine.is_ready() {
        Readiness::Unlisted
    } else if !pages.context.engine.is_sound() {
        Readiness::Unsound
    } else if !*pages.context.checked.borrow() {
        Readiness::Unchecked
    } else if pages.certificate.as_ref().is_some_and(|certificate| !certificate.is_there()) {
        Readiness::NoCertificate
    } else if pages.context.metrics.is_alone() {
        Readiness::Alone
    } else {
        Readiness::Ready
    }
}

#[cfg(test)]
mod tests {
    use flock_compiler_core::{Change, Edit};
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::engine::Engine;
    use crate::metrics::Metrics;
    use crate::source::SourceEvent;

    #[tokio::test]
    async fn a_replica_is_ready_once_what_it_translated_first_is_checked() {
        let metrics = Arc::new(Metrics::default());
        let (engine, handle) = Engine::new(Arc::clone(&metrics));
        let (events, incoming) = mpsc::channel(8);
        tokio::spawn(engine.run(incoming));
        let (checked, is_checked) = watch::channel(false);
        let (_stop, stopping) = watch::channel(false);
        let context =
            Context { checked: is_checked, ..Context::in_memory(handle.clone(), metrics, stopping) };
        let pages = Pages { context, access: Access::Open, certificate: None };
        assert_eq!(readiness(&pages), Readiness::Unlisted);
        let listed = vec![
            Change::Node(Edit::Replace(Vec::new())),
            Change::Namespace(Edit::Replace(Vec::new())),
            Change::Pod(Edit::Replace(Vec::new())),
            Change::Policy(Edit::Replace(Vec::new())),
            Change::NodePods(Edit::Replace(Vec::new())),
        ];
        events.send(SourceEvent::from(listed)).await.unwrap();
        handle.readiness().wait_for(|ready| *ready).await.unwrap();
        assert_eq!(readiness(&pages), Readiness::Unchecked);
        checked.send_replace(true);
        assert_eq!(readiness(&pages), Readiness::Ready);
    }
}
