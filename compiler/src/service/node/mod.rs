//! What agents call: the stream of their node's states, and what CNI did on their node.
//!
//! ```text
//! request ─▶ authenticate ─▶ NodeEndpoint ─┬─ Subscribe ─────▶ AgentStream ─ hello ─▶ Subscription ─▶ updates
//!                                          └─ Attach, Detach ─▶ AttachService ─▶ reply
//! ```

mod attach;
mod authenticate;
mod dropped;
mod facts;
mod far_nodes;
mod flows;
mod quota;
mod relay;
mod replica_lag;
mod revocations;
mod session;
mod shared;
mod stream;
mod subscription;
mod unsettled;
mod wire;

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::LayerExt as _;
use tower::layer::layer_fn;
use tower::service_fn;

use self::shared::NodeShared;
pub(super) use self::wire::NodeEndpoint;
use super::context::Context;
use super::render_limiter::RenderLimiter;

/// The service of agents: a layer that authenticates, around the methods.
pub(super) fn service(
    context: Context,
    render_limiter: Arc<RenderLimiter>,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
+ NamedService
+ Clone
+ Send
+ Sync
+ 'static {
    let access = context.access.clone();
    let endpoint = NodeEndpoint(Arc::new(NodeShared::new(context, render_limiter)));
    let authenticating = layer_fn(|endpoint: NodeEndpoint| {
        let access = access.clone();
        service_fn(move |request| authenticate::authenticated(access.clone(), request, endpoint.clone()))
    });
    authenticating.named_layer(endpoint)
}
