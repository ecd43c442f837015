//! What an agent says of its node: its first update takes it into account, and nobody else's does.

use flock_compiler::service::Limits;
use flock_compiler_core::nft::read::GRAMMAR_LEAST;
use flock_compiler_core::object::{Node, PodCidr};
use flock_compiler_core::{Change, Edit};
use flock_proto::v1::debug_service_client::DebugServiceClient;
use flock_proto::v1::{ListNodesRequest, ListProblemsRequest, NodeStatus};
use flock_proto::{AgentMessage, Bridge, BridgeNf, Hello, NodeFacts, NodeState, Others, Sight, UpdateKind};
use flock_shared::{Revision, ScriptHash};
use flock_testkit::agent::FakeAgent;

use super::agent::{self, hello_of};
use super::compiler::{Compiler, patiently};
use super::objects::node_name;

/// The pods of the cluster hang on this bridge, and are judged.
fn bridged() -> NodeFacts {
    let bridge = Bridge {
        name: "cni0".into(),
        addresses: ["10.0.0.254/24".parse().unwrap()].into(),
        ports: Vec::new(),
    };
    let (bridge_nf_v4, bridge_nf_v6) = (BridgeNf::On, BridgeNf::On);
    NodeFacts { bridges: vec![bridge], bridge_nf_v4, bridge_nf_v6, ..NodeFacts::default() }
}

async fn agent(compiler: &Compiler, hello: Hello) -> FakeAgent {
    agent::open(compiler.dial().await.0, hello).await
}

/// The bridges that pods of a node hang on, as its desired state has them.
async fn bridges(compiler: &Compiler, node: usize) -> Vec<String> {
    let desired = compiler.desired(node).await;
    let published = desired.borrow();
    let links = &published.as_ref().unwrap().output().node_rules().links;
    links.pod_bridges.iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_update_knows_what_the_hello_said() {
    let compiler = Compiler::start(2, Limits::default()).await;
    let [before, other] = [compiler.revision(0).await, compiler.revision(1).await];
    let mut first = agent(&compiler, Hello { facts: Some(bridged()), ..hello_of(0) }).await;
    let (revision, kind) = first.apply().await;
    assert!(matches!(kind, UpdateKind::Full(_)) && revision != before);
    assert_eq!(
        (bridges(&compiler, 0).await, revision.clone()),
        (vec!["cni0".into()], compiler.revision(0).await)
    );
    assert_eq!(
        (bridges(&compiler, 1).await, other),
        (vec![], compiler.revision(1).await),
        "its own node only"
    );
    // What is known stays without the stream, and who comes back with it has it already.
    drop(first);
    compiler.until("flock_compiler_streams", 0).await;
    assert_eq!(compiler.revision(0).await, revision);
    let again = Hello { applied: Some(revision), facts: Some(bridged()), ..hello_of(0) };
    assert_eq!(agent(&compiler, again).await.apply().await.1, UpdateKind::Current);
    // An agent of before there were facts is served as before.
    let old = Hello { applied: Some(before.clone()), ..hello_of(0) };
    assert_eq!(agent(&compiler, old).await.apply().await, (before, UpdateKind::Current));
}

/// Another replica never heard of this agent: it must not take its bridges away for a moment.
#[tokio::test(start_paused = true)]
async fn another_replica_has_the_same_state_for_an_agent_that_comes_from_elsewhere() {
    let [one, other] =
        [Compiler::start(1, Limits::default()).await, Compiler::start(1, Limits::default()).await];
    let hello = Hello { facts: Some(bridged()), ..hello_of(0) };
    let (revision, _) = agent(&one, hello.clone()).await.apply().await;
    let mut moved = agent(&other, Hello { applied: Some(revision), ..hello }).await;
    assert_eq!(moved.apply().await.1, UpdateKind::Current);
    assert_eq!(other.metric("flock_compiler_updates_total{kind=\"full\"}"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_changes_on_a_node_changes_its_table_and_floods_do_not_count() {
    let compiler = Compiler::start(2, Limits::default()).await;
    let other = compiler.revision(1).await;
    let mut agent = compiler.agent(0, None).await;
    let (before, _) = agent.apply().await;
    agent.say(AgentMessage::Facts(bridged())).await;
    let (bridged_now, kind) = agent.apply().await;
    assert!(matches!(kind, UpdateKind::Delta { base, .. } if base == before));
    let passes = || compiler.metric("flock_compiler_translation_seconds_count");
    let known = passes();
    for number in 1..=500 {
        agent.say(AgentMessage::Facts(NodeFacts { tunnel_ports: [number].into(), ..bridged() })).await;
    }
    agent.say(AgentMessage::Facts(NodeFacts::default())).await;
    let mut has = bridged_now;
    while has != before {
        has = agent.apply().await.0;
    }
    assert!(passes() - known < 10, "{} passes", passes() - known);
    assert_eq!(compiler.revision(1).await, other);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_judged_is_told() {
    let compiler = Compiler::start(2, Limits::default()).await;
    let refused = vec!["Error: Could not process rule: Operation not supported".to_owned()];
    let facts = NodeFacts { bridge_nf_v4: BridgeNf::Absent, ..bridged() };
    let mut agent = agent(&compiler, Hello { facts: Some(facts), refused, ..hello_of(0) }).await;
    agent.apply().await;
    let mut client = DebugServiceClient::new(compiler.dial().await.0);
    let nodes = patiently(client.list_nodes(ListNodesRequest::default())).await.unwrap().into_inner().nodes;
    let reasons = |node: &NodeStatus| node.not_judged.clone();
    let bridge = "pods hang on bridge cni0, and net.bridge.bridge-nf-call-iptables is absent (br_netfilter is not loaded)";
    let nft = "nft refuses what rules need: Error: Could not process rule: Operation not supported";
    assert_eq!(
        nodes.iter().map(reasons).collect::<Vec<_>>(),
        [vec![bridge.to_owned(), nft.to_owned()], vec![]]
    );
    let request = ListProblemsRequest { namespace: String::new() };
    let problems = patiently(client.list_problems(request)).await.unwrap().into_inner().problems;
    let told: Vec<_> = problems.iter().map(|it| (it.object.as_str(), it.message.as_str())).collect();
    assert_eq!(told, [("Node node-0", nft), ("Node node-0", bridge)]);
    // Once it is mended, what nft refuses is left.
    agent.say(AgentMessage::Facts(bridged())).await;
    let mended =
        async || patiently(client.list_nodes(ListNodesRequest::default())).await.unwrap().into_inner().nodes;
    let mut mended = mended;
    while mended().await[0].not_judged != [nft] {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// What agents find out over time, and who else they find, is shown of their nodes and changes no table.
#[tokio::test(start_paused = true)]
async fn rules_that_are_gone_round_and_others_that_enforce_are_told() {
    let compiler = Compiler::start(2, Limits::default()).await;
    let mut agent = agent(&compiler, Hello { facts: Some(NodeFacts::default()), ..hello_of(0) }).await;
    let (revision, _) = agent.apply().await;
    let mut client = DebugServiceClient::new(compiler.dial().await.0);
    let mut until = async |is_there: &dyn Fn(&NodeStatus) -> bool| {
        loop {
            let request = ListNodesRequest { addresses: true };
            let mut nodes = patiently(client.list_nodes(request)).await.unwrap().into_inner().nodes;
            if is_there(&nodes[0]) {
                assert_eq!((&nodes[1].not_judged[..], &nodes[1].enforcers[..]), (&[][..], &[][..]));
                return nodes.remove(0);
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let enforcers = ["Calico".to_owned(), "kube-router".to_owned()];
    let facts = NodeFacts { bypassed: true, enforcers: enforcers.clone().into(), ..NodeFacts::default() };
    agent.say(AgentMessage::Facts(facts)).await;
    let node = until(&|node| !node.not_judged.is_empty()).await;
    assert_eq!(NodeState::of(Sight::from(&node), Others::Asked), NodeState::NotJudged);
    assert!(node.not_judged[0].starts_with("pods talk, and the rules meet next to nothing"), "{node:?}");
    assert_eq!((node.enforcers, node.outside_pod_cidrs), (enforcers.to_vec(), Some(0)));
    assert_eq!(compiler.revision(0).await, revision, "its table is the same");
    agent.say(AgentMessage::Facts(NodeFacts::default())).await;
    let node = until(&|node| node.not_judged.is_empty() && node.enforcers.is_empty()).await;
    assert_eq!(NodeState::of(Sight::from(&node), Others::Asked), NodeState::Current);
}

#[tokio::test(start_paused = true)]
async fn addresses_outside_of_pod_cidrs_are_counted_where_that_is_asked_for() {
    let mut compiler = Compiler::start(2, Limits::default()).await;
    let blocks = ["10.99.0.0/24".parse().unwrap()].map(|block| PodCidr::new(block).unwrap());
    let node = Node { pod_cidrs: blocks.into_iter().collect(), ..Node::new(node_name(0)) };
    compiler.tell(Change::Node(Edit::Upsert(node)).into()).await;
    compiler.change().await;
    let mut client = DebugServiceClient::new(compiler.dial().await.0);
    let mut asked = async |addresses| {
        let answer = patiently(client.list_nodes(ListNodesRequest { addresses })).await.unwrap();
        let counts: Vec<_> = answer.into_inner().nodes.iter().map(|node| node.outside_pod_cidrs).collect();
        counts
    };
    assert_eq!(asked(false).await, [None, None]);
    let [first, second] = asked(true).await[..] else { panic!() };
    assert!(first > Some(0), "{first:?}: pods of this cluster have other addresses");
    assert_eq!(second, Some(0), "a node without blocks");
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_a_node_that_nothing_names_is_forgotten_with_its_agent() {
    let mut compiler = Compiler::start(1, Limits::default()).await;
    let hello = |node| Hello {
        facts: Some(NodeFacts { tunnel_ports: [4789].into(), ..bridged() }),
        ..hello_of(node)
    };
    let mut gone = agent(&compiler, hello(7)).await;
    gone.apply().await;
    let mut stays = agent(&compiler, hello(8)).await;
    stays.apply().await;
    drop(gone);
    compiler.until("flock_compiler_streams", 1).await;
    compiler.change().await;
    for node in [7, 8] {
        compiler.tell(Change::Node(Edit::Upsert(Node::new(node_name(node)))).into()).await;
    }
    compiler.change().await;
    let ports = async |node| {
        let desired = compiler.desired(node).await;
        let published = desired.borrow();
        published.as_ref().unwrap().output().node_rules().links.tunnel_ports.len()
    };
    assert_eq!((ports(7).await, ports(8).await), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_understood_yet_is_passed_over() {
    let compiler = Compiler::start(1, Limits::default()).await;
    let mut agent = compiler.agent(0, None).await;
    agent.say_something_new().await;
    agent.apply().await;
    agent.say_something_new().await;
    agent.say(AgentMessage::Facts(bridged())).await;
    assert!(matches!(agent.apply().await.1, UpdateKind::Delta { .. }));
}

/// As an agent of before names had 32 digits: whatever it was sent, its guard would refuse.
#[tokio::test(start_paused = true)]
async fn an_agent_that_would_refuse_every_script_is_sent_none_and_is_shown() {
    let compiler = Compiler::start(2, Limits::default()).await;
    let state = async |node: usize| {
        let mut client = DebugServiceClient::new(compiler.dial().await.0);
        let nodes =
            patiently(client.list_nodes(ListNodesRequest::default())).await.unwrap().into_inner().nodes;
        (NodeState::of(Sight::from(&nodes[node]), Others::Asked), nodes[node].applied_revision.clone())
    };
    let older = Revision::of(ScriptHash::of(b"a table of its time"));
    let old = Hello { applied: Some(older.clone()), grammar: GRAMMAR_LEAST - 1, ..hello_of(0) };
    let mut too_old = agent(&compiler, old).await;
    compiler.until("flock_compiler_streams", 1).await;
    assert_eq!(state(0).await, (NodeState::TooOld, older.to_string()), "it keeps what it has");
    // What changes is not sent either, and the stream goes on: it would refuse the closed form, too.
    too_old.say(AgentMessage::Facts(bridged())).await;
    assert!(!too_old.is_told_something().await);
    assert_eq!(state(0).await, (NodeState::TooOld, older.to_string()));
    // Other nodes are served.
    compiler.agent(1, None).await.apply().await;
    // Once the agent is updated, its node is brought to the newest state.
    drop(too_old);
    let mut updated = agent(&compiler, Hello { applied: Some(older), ..hello_of(0) }).await;
    let (revision, kind) = updated.apply().await;
    assert!(matches!(kind, UpdateKind::Full(_)));
    while state(0).await != (NodeState::Current, revision.to_string()) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
