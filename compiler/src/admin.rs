//! The admin port: metrics and probes over plain HTTP, for loopback.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::service::Context;

/// Serves `/metrics`, `/healthz` and `/readyz` until the task is dropped.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, context: Context) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        // A process whose engine has stopped ends, so one that answers is healthy.
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(context));
    axum::serve(listener, router).await
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    if let Ok(desired) = context.engine.nodes().await {
        let agents = context.fleet.all();
        let (mut current, mut behind, mut offline) = (0, 0, 0);
        for (node, desired) in &desired {
            let agent = agents.get(node).filter(|agent| agent.stream.is_some());
            let applied = agent.and_then(|agent| agent.applied.as_ref()).map(|(revision, _)| revision);
            let published = desired.borrow();
            match (agent, published.as_ref().map(|published| published.revision())) {
                (None, _) => offline += 1,
                (Some(_), wanted) if wanted.is_some() && wanted == applied => current += 1,
                (Some(_), _) => behind += 1,
            }
        }
        context.metrics.nodes([("current", current), ("behind", behind), ("offline", offline)]);
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], context.metrics.text())
}

async fn readyz(State(context): State<Arc<Context>>) -> (StatusCode, &'static str) {
    if context.engine.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not every watched kind has been listed yet\n")
    }
}
