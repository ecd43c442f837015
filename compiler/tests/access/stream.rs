//! An agent's stream, with a token or without.

use flock_shared::token::BearerToken;
use flock_testkit::agent::{FakeAgent, hello_of};
use tonic::Status;
use tonic::transport::Channel;

/// Says hello for `node`.
pub(super) async fn open(
    channel: Channel,
    token: Option<&BearerToken>,
    node: &str,
) -> Result<FakeAgent, Status> {
    FakeAgent::open(channel, token, hello_of(node.parse().unwrap())).await
}

/// The status that a stream which must be refused ends with.
pub(super) async fn refused(channel: Channel, token: Option<&BearerToken>, node: &str) -> Status {
    match open(channel, token, node).await {
        Err(status) => status,
        Ok(mut agent) => agent.take().await.expect_err("it was served"),
    }
}
