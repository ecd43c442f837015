//! What the methods of agents share.

use std::sync::Arc;

use super::quota::NodeQuotas;
use crate::service::context::Context;
use crate::service::render_limiter::RenderLimiter;

/// What the methods share.
#[derive(Debug)]
pub(super) struct NodeShared {
    pub(super) context: Context,
    pub(super) render_limiter: Arc<RenderLimiter>,
    pub(super) quotas: NodeQuotas,
}
