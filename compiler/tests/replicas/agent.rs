//! An agent that calls a replica.

use flock_testkit::agent::{AgentMemory, FakeAgent};
use tonic::transport::Endpoint;

use super::replica::Replica;

/// Whose agent it is.
pub(super) const NODE: &str = "n1";

/// The agent, with what it has of before, on a stream to a replica.
pub(super) async fn call(replica: &Replica, memory: &AgentMemory) -> FakeAgent {
    let channel = Endpoint::from_shared(replica.url.clone()).unwrap().connect().await.unwrap();
    FakeAgent::open(channel, None, memory.hello(NODE.parse().unwrap())).await.unwrap()
}
