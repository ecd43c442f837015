//! What the methods of agents share.

use std::sync::Arc;

use super::quota::NodeQuotas;
use super::relay::RevocationRelay;
use crate::service::context::Context;
use crate::service::render_limiter::RenderLimiter;

/// What the methods share.
#[derive(Debug)]
pub(super) struct NodeShared {
    pub(super) context: Context,
    pub(super) render_limiter: Arc<RenderLimiter>,
    pub(super) quotas: NodeQuotas,
    pub(super) relay: RevocationRelay,
}

impl NodeShared {
    /// For one server, on whose runtime it tells streams of revocations.
    pub(super) fn new(context: Context, render_limiter: Arc<RenderLimiter>) -> Self {
        let relay = RevocationRelay::start(&context.engine, Arc::clone(&context.fleet));
        Self { context, render_limiter, quotas: NodeQuotas::default(), relay }
    }
}
