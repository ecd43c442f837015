//! Agents of these tests' nodes, on these tests' clock.

use flock_proto::Hello;
use flock_testkit::agent::{self, FakeAgent};
use tonic::transport::Channel;

use super::compiler::{PATIENCE, patiently};
use super::objects::node_name;

/// The hello of an agent that has nothing.
pub(super) fn hello_of(node: usize) -> Hello {
    agent::hello_of(node_name(node))
}

/// Opens a stream and says nothing.
pub(super) async fn silent(channel: Channel) -> FakeAgent {
    patiently(FakeAgent::silent(channel, None)).await.unwrap().patient(PATIENCE)
}

/// Opens a stream and says hello.
pub(super) async fn open(channel: Channel, hello: Hello) -> FakeAgent {
    patiently(FakeAgent::open(channel, None, hello)).await.unwrap().patient(PATIENCE)
}
