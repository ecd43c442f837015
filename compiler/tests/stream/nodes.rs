//! What a replica says of nodes: which it serves, and since when what.

use std::time::{Duration, SystemTime};

use flock_compiler::service::Limits;
use flock_proto::Outcome;
use flock_proto::v1::debug_service_client::DebugServiceClient;
use flock_proto::v1::{GetOutputRequest, GetScriptRequest, ListNodesRequest, NodeStatus};
use tonic::Code;
use tonic::transport::Channel;

use super::compiler::{Compiler, patiently};

type Client = DebugServiceClient<Channel>;

async fn list(client: &mut Client) -> Vec<NodeStatus> {
    patiently(client.list_nodes(ListNodesRequest::default())).await.unwrap().into_inner().nodes
}

/// The first node, once it is as wanted.
async fn until(client: &mut Client, wanted: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
    loop {
        let first = list(client).await.remove(0);
        if wanted(&first) {
            return first;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn time(at: Option<prost_types::Timestamp>) -> SystemTime {
    at.unwrap().try_into().unwrap()
}

#[tokio::test(start_paused = true)]
async fn since_when_a_node_is_behind_is_told() {
    let mut compiler = Compiler::start(1, Limits::default()).await;
    let mut client = DebugServiceClient::new(compiler.dial().await.0);
    let never = list(&mut client).await.remove(0);
    assert_eq!((never.connected, never.stream_since, never.behind_since), (false, None, None));

    let mut agent = compiler.agent(0, None).await;
    agent.apply().await;
    let current = until(&mut client, |node| node.applied_revision == node.desired_revision).await;
    assert!(current.connected && current.stream_since.is_some() && current.behind_since.is_none());

    // Two states that it does not get to: it is behind since the first one.
    compiler.change().await;
    let first = until(&mut client, |node| node.behind_since.is_some()).await;
    assert_eq!(first.behind_since, first.desired_since);
    let refused = agent.update().await;
    agent.answer(&refused.revision, Outcome::NftFailed).await;
    compiler.change().await;
    let second = until(&mut client, |node| node.desired_revision != first.desired_revision).await;
    assert!(time(second.desired_since) > time(first.desired_since));
    assert_eq!(second.behind_since, first.behind_since);

    while list(&mut client).await[0].behind_since.is_some() {
        agent.apply().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(agent);
    let left = until(&mut client, |node| !node.connected).await;
    assert_eq!(left.behind_since, left.stream_since, "since it left");
    assert_eq!(left.applied_revision, left.desired_revision, "what stood then");
    // What it gets of another replica meanwhile nobody tells this one.
    let _again = compiler.agent(0, None).await;
    until(&mut client, |node| node.connected).await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_name_goes_with_its_agent_and_what_is_served_is_told() {
    let compiler = Compiler::start(1, Limits::default()).await;
    let mut client = DebugServiceClient::new(compiler.dial().await.0);
    let script = |node: &str| GetScriptRequest { node: node.to_owned() };
    assert!(!patiently(client.get_script(script("node-0"))).await.unwrap().into_inner().served);
    let mut agents = [compiler.agent(0, None).await, compiler.agent(7, None).await];
    for agent in &mut agents {
        agent.apply().await;
    }
    let names = |nodes: Vec<NodeStatus>| nodes.into_iter().map(|node| node.node).collect::<Vec<_>>();
    assert_eq!(names(list(&mut client).await), ["node-0", "node-7"]);
    assert!(list(&mut client).await[1].unknown);
    assert!(patiently(client.get_script(script("node-0"))).await.unwrap().into_inner().served);
    let output = GetOutputRequest { node: "node-7".to_owned() };
    assert!(patiently(client.get_output(output)).await.unwrap().into_inner().served);

    let [_stays, goes] = agents;
    drop(goes);
    compiler.until("flock_compiler_streams", 1).await;
    assert_eq!(names(list(&mut client).await), ["node-0"], "without anything else that changes");
    let gone = patiently(client.get_script(script("node-7"))).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let mut again = compiler.agent(7, None).await;
    again.apply().await;
    assert_eq!(names(list(&mut client).await), ["node-0", "node-7"]);
}

#[tokio::test(start_paused = true)]
async fn a_replica_tells_how_many_there_are_and_who_it_is() {
    let [one, other] =
        [Compiler::start(1, Limits::default()).await, Compiler::start(1, Limits::default()).await];
    // Of whom makes none of its own, nothing is told.
    other.context.metrics.certificate_expiry(Some(1_800_000_000));
    let mut said = Vec::new();
    for compiler in [&one, &one, &other] {
        let mut client = DebugServiceClient::new(compiler.dial().await.0);
        said.push(patiently(client.list_nodes(ListNodesRequest::default())).await.unwrap().into_inner());
    }
    assert_eq!(said[0].replicas, 1);
    assert_eq!(said[0].instance, said[1].instance);
    assert_ne!(said[0].instance, said[2].instance);
    assert!(!said[0].instance.is_empty());
    let ends: Vec<_> = said.iter().map(|it| it.certificate_expiry.map(|at| at.seconds)).collect();
    assert_eq!(ends, [None, None, Some(1_800_000_000)]);
}
