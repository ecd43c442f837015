//! Calls of CNI's plugin: who is waited for, what is refused, and what an answer says.

use std::net::IpAddr;
use std::time::Duration;

use flock_compiler::attach::{Entry, Given};
use flock_compiler::service::Limits;
use flock_compiler_core::object::{Lifecycle, Node, Pod, PodCidr, PodNetwork, PodUid};
use flock_compiler_core::{Change, Edit};
use flock_proto::v1::node_service_client::NodeServiceClient;
use flock_proto::{AgentMessage, Attach, Attached, Detach, Outcome, v1};
use flock_shared::PodKey;
use flock_shared::cni::{Reach, Sandbox, SandboxId};
use flock_testkit::agent::FakeAgent;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use super::compiler::{Compiler, patiently};
use super::objects::{NAMESPACE, node_name, pod};

/// How long callers wait.
const WITHIN: Duration = Duration::from_secs(2);

/// The number of a pod that is not of the cluster yet.
const NEW: usize = 77;

fn sandbox(id: &str, number: usize, address: &str) -> Sandbox {
    Sandbox {
        id: SandboxId::new(id).unwrap(),
        pod: PodKey::new(NAMESPACE, &format!("pod-{number}")).unwrap(),
        uid: Some(format!("uid-{number}")),
        addresses: vec![address.parse().unwrap()],
        interface: None,
    }
}

/// A pod that has no address yet.
fn starting(number: usize, on: usize) -> Change {
    let network = PodNetwork::own([].into(), None);
    Change::Pod(Edit::Upsert(Pod { network, ..pod(number, on) }))
}

type Call = JoinHandle<Result<Attached, Status>>;

async fn attach(compiler: &Compiler, on: usize, sandbox: Sandbox) -> Call {
    let mut client = NodeServiceClient::new(compiler.dial().await.0);
    let request = v1::AttachRequest::from(Attach { node: node_name(on), sandbox, within: WITHIN });
    tokio::spawn(async move { client.attach(request).await.map(|it| it.into_inner().try_into().unwrap()) })
}

async fn detach(compiler: &Compiler, on: usize, id: &str) -> Call {
    let mut client = NodeServiceClient::new(compiler.dial().await.0);
    let sandbox = SandboxId::new(id).unwrap();
    let request = v1::DetachRequest::from(Detach { node: node_name(on), sandbox, within: WITHIN });
    tokio::spawn(async move { client.detach(request).await.map(|it| it.into_inner().try_into().unwrap()) })
}

async fn answer(call: Call) -> Result<Attached, (Code, String)> {
    patiently(call).await.unwrap().map_err(|status| (status.code(), status.message().to_owned()))
}

fn everywhere() -> Attached {
    Attached { reach: Reach::Everywhere, behind: Vec::new() }
}

/// A compiler whose nodes' agents are current.
async fn settled(nodes: usize) -> (Compiler, Vec<FakeAgent>) {
    let compiler = Compiler::start(nodes, Limits::default()).await;
    let mut agents = Vec::new();
    for node in 0..nodes {
        let mut agent = compiler.agent(node, None).await;
        agent.apply().await;
        agents.push(agent);
    }
    for node in 0..nodes {
        let mut status = compiler.context.fleet.watch(&node_name(node));
        patiently(status.wait_for(|status| status.acknowledged.is_some())).await.unwrap();
    }
    // Each is told of what the others' first tables may have revoked.
    for agent in &mut agents {
        while timeout(Duration::from_secs(3), agent.apply()).await.is_ok() {}
    }
    (compiler, agents)
}

#[tokio::test(start_paused = true)]
async fn a_call_returns_once_the_node_has_acknowledged_and_others_have_had_a_while() {
    let (compiler, mut agents) = settled(2).await;
    compiler.tell(starting(NEW, 0).into()).await;
    let call = attach(&compiler, 0, sandbox("s1", NEW, "10.0.9.1")).await;
    let update = agents[0].update().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!call.is_finished(), "the node has not acknowledged");
    agents[0].answer(&update.revision, Outcome::Applied).await;
    let behind = Attached { reach: Reach::Node, behind: vec![node_name(1)] };
    assert_eq!(answer(call).await, Ok(behind), "the other node's agent says nothing");
    // Once more, as runtimes do: nothing is written, and the other node has caught up.
    agents[1].apply().await;
    let again = attach(&compiler, 0, sandbox("s1", NEW, "10.0.9.1")).await;
    assert_eq!(answer(again).await, Ok(everywhere()));
    let output = compiler.desired(1).await.borrow().as_ref().unwrap().full();
    assert!(String::from_utf8_lossy(output.bytes()).contains("10.0.9.1"));
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_before_the_compiler_began_may_still_stand_on_nodes() {
    let compiler = Compiler::start(2, Limits::default()).await;
    let mut own = compiler.agent(0, None).await;
    own.apply().await;
    // The other node's agent has come, and not said yet what this compiler's first state has become there.
    let mut other = compiler.agent(1, None).await;
    let first = other.update().await;
    compiler.tell(starting(NEW, 0).into()).await;
    let call = attach(&compiler, 0, sandbox("s1", NEW, "10.0.9.1")).await;
    own.apply().await;
    let behind = Attached { reach: Reach::Node, behind: vec![node_name(1)] };
    assert_eq!(answer(call).await, Ok(behind.clone()), "it may have the address as another pod's");
    other.answer(&first.revision, Outcome::Applied).await;
    other.apply().await;
    let again = attach(&compiler, 0, sandbox("s1", NEW, "10.0.9.1")).await;
    assert_eq!(answer(again).await, Ok(everywhere()));
    // A node that is away is named, and after a while it is one like any other.
    drop(other);
    let mut status = compiler.context.fleet.watch(&node_name(1));
    patiently(status.wait_for(|status| status.stream.is_none())).await.unwrap();
    let again = attach(&compiler, 0, sandbox("s1", NEW, "10.0.9.1")).await;
    assert_eq!(answer(again).await, Ok(everywhere()), "it has acknowledged");
    let returned = compiler.agent(1, None).await;
    patiently(status.wait_for(|status| status.stream.is_some() && status.acknowledged.is_none()))
        .await
        .unwrap();
    drop(returned);
    patiently(status.wait_for(|status| status.stream.is_none())).await.unwrap();
    let again = attach(&compiler, 0, sandbox("s1", NEW, "10.0.9.1")).await;
    assert_eq!(answer(again).await, Ok(behind));
    tokio::time::sleep(Duration::from_mins(1)).await;
    let again = attach(&compiler, 0, sandbox("s1", NEW, "10.0.9.1")).await;
    assert_eq!(answer(again).await, Ok(everywhere()));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_the_replica_has_not_seen_is_waited_for() {
    let (compiler, mut agents) = settled(1).await;
    let call = attach(&compiler, 0, sandbox("s1", NEW, "10.0.9.1")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // First as one of another node, such as it was before it was made anew.
    compiler.tell(starting(NEW, 1).into()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    compiler.tell(starting(NEW, 0).into()).await;
    agents[0].apply().await;
    assert_eq!(answer(call).await.map(|it| it.reach), Ok(Reach::Everywhere));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused_and_what_does_not_come_is_late() {
    let (compiler, _agents) = settled(2).await;
    let cidr = PodCidr::new("10.0.8.0/24".parse().unwrap()).unwrap();
    let node = Node { pod_cidrs: [cidr].into(), ..Node::new(node_name(1)) };
    compiler.tell(Change::Node(Edit::Upsert(node)).into()).await;
    let refused = |message: &str| Err((Code::FailedPrecondition, message.to_owned()));
    let other_uid = Sandbox { uid: Some("uid-1".to_owned()), ..sandbox("s", 0, "10.0.9.1") };
    for (on, said, expected) in [
        (0, sandbox("s", 0, "127.0.0.1"), refused("127.0.0.1 is no address that a pod can have")),
        (1, sandbox("s", 1, "10.0.9.1"), refused("10.0.9.1 is in none of the pod CIDRs of node node-1")),
        (0, other_uid, refused("pod shop/pod-0 has another UID")),
        (1, sandbox("s", 0, "10.0.8.1"), refused("pod shop/pod-0 is on node node-0")),
        (
            0,
            sandbox("s", NEW, "10.0.9.1"),
            Err((Code::DeadlineExceeded, "pod shop/pod-77 is not known".to_owned())),
        ),
    ] {
        let expected = expected.map_err(|(code, text)| (code, text.replace("shop", NAMESPACE)));
        assert_eq!(answer(attach(&compiler, on, said.clone()).await).await, expected, "{said:?}");
    }
    let no_sandbox = v1::AttachRequest { node: "node-0".to_owned(), sandbox: None, within: None };
    let mut client = NodeServiceClient::new(compiler.dial().await.0);
    assert_eq!(patiently(client.attach(no_sandbox)).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_a_node_has_otherwise_holds_the_next_owner_up() {
    let (compiler, mut agents) = settled(2).await;
    compiler.tell(starting(NEW, 0).into()).await;
    compiler.tell(starting(NEW + 1, 0).into()).await;
    let call = attach(&compiler, 0, sandbox("s1", NEW, "10.0.9.1")).await;
    agents[0].apply().await;
    agents[1].apply().await;
    assert_eq!(answer(call).await, Ok(everywhere()));

    // The pod goes, and one node does not hear of it.
    let call = detach(&compiler, 0, "s1").await;
    agents[0].apply().await;
    let held = agents[1].update().await;
    let unclean = Attached { reach: Reach::Unclean, behind: vec![node_name(1)] };
    assert_eq!(answer(call).await, Ok(unclean.clone()));
    let call = attach(&compiler, 0, sandbox("s2", NEW + 1, "10.0.9.1")).await;
    agents[0].apply().await;
    assert_eq!(answer(call).await, Ok(unclean));

    // It catches up while the call waits.
    let call = attach(&compiler, 0, sandbox("s2", NEW + 1, "10.0.9.1")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!call.is_finished());
    agents[1].answer(&held.revision, Outcome::Applied).await;
    agents[1].apply().await;
    assert_eq!(answer(call).await, Ok(everywhere()));
    for id in ["s1", "unknown"] {
        assert_eq!(answer(detach(&compiler, 0, id).await).await, Ok(everywhere()), "{id} is gone");
    }
}

/// A node that is switched off, or whose agent is with another replica, is named and stops no pod.
#[tokio::test(start_paused = true)]
async fn a_node_that_nothing_is_known_of_holds_nobody_up() {
    let (compiler, mut agents) = settled(2).await;
    compiler.tell(starting(NEW, 0).into()).await;
    compiler.tell(starting(NEW + 1, 0).into()).await;
    let call = attach(&compiler, 0, sandbox("s1", NEW, "10.0.9.1")).await;
    agents[0].apply().await;
    agents[1].apply().await;
    assert_eq!(answer(call).await, Ok(everywhere()));
    drop(agents.pop());
    let gone = compiler.context.fleet.watch(&node_name(1));
    patiently(async { drop(gone.clone().wait_for(|status| status.stream.is_none()).await) }).await;
    let named = Attached { reach: Reach::Node, behind: vec![node_name(1)] };
    let call = detach(&compiler, 0, "s1").await;
    agents[0].apply().await;
    assert_eq!(answer(call).await, Ok(named.clone()));
    let call = attach(&compiler, 0, sandbox("s2", NEW + 1, "10.0.9.1")).await;
    agents[0].apply().await;
    assert_eq!(answer(call).await, Ok(named));
}

/// An agent that is away has the pods of its book written down when it comes, and nothing that is not so.
#[tokio::test(start_paused = true)]
async fn what_an_agent_says_of_its_whole_node_is_written_down() {
    let (compiler, agents) = settled(1).await;
    compiler.tell(starting(NEW, 0).into()).await;
    let mut desired = compiler.desired(0).await;
    desired.borrow_and_update();
    let wrong = Sandbox { uid: Some("other".to_owned()), ..sandbox("s2", 0, "10.0.9.2") };
    let all = vec![sandbox("s1", NEW, "10.0.9.1"), wrong, sandbox("s3", 99, "10.0.9.3")];
    agents[0].say(AgentMessage::Sandboxes(all)).await;
    let has = |text: &str, address: &str| text.contains(address);
    patiently(async {
        loop {
            let text = desired.borrow_and_update().as_ref().unwrap().full();
            let text = String::from_utf8_lossy(text.bytes()).into_owned();
            if has(&text, "10.0.9.1") {
                assert!(!has(&text, "10.0.9.2") && !has(&text, "10.0.9.3"));
                return;
            }
            desired.changed().await.unwrap();
        }
    })
    .await;
    let attached: Vec<IpAddr> = compiler
        .context
        .engine
        .look(|view| {
            let pods = view.world.pods().values();
            pods.filter_map(|pod| pod.addresses())
                .flatten()
                .copied()
                .filter(|at| at.to_string().starts_with("10.0.9"))
                .collect()
        })
        .await
        .unwrap();
    assert_eq!(attached.len(), 1);
}

/// So many pods are on the node, each with a sandbox that is written down.
const MANY: usize = 512;

/// A compiler whose only node has [`MANY`] sandboxes.
async fn crowded() -> (Compiler, Vec<FakeAgent>) {
    let (compiler, agents) = settled(1).await;
    let pods = (0..MANY).map(|number| {
        let network = PodNetwork::own([].into(), None);
        Pod { network, ..pod(1000 + number, 0) }
    });
    compiler.tell(Change::Pod(Edit::Replace(pods.collect())).into()).await;
    let all = (0..MANY).map(|number| {
        let at = format!("10.7.{}.{}", number >> 8, number & 255);
        sandbox(&format!("m{number}"), 1000 + number, &at)
    });
    agents[0].say(AgentMessage::Sandboxes(all.collect())).await;
    until_written(&compiler, |ids| ids == MANY).await;
    (compiler, agents)
}

/// How many sandboxes are written down of the first node.
async fn written(compiler: &Compiler) -> usize {
    let looking = compiler
        .context
        .engine
        .look(|view| view.world.node_pods().get(&node_name(0)).map_or(0, |object| object.sandboxes().len()));
    looking.await.unwrap()
}

async fn until_written(compiler: &Compiler, is_it: impl Fn(usize) -> bool) {
    patiently(async {
        while !is_it(written(compiler).await) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Pods that have ended leave their objects, and their sandboxes tombstones; those make room where there is little.
#[tokio::test(start_paused = true)]
async fn what_is_kept_of_a_node_goes_with_its_pods_and_has_a_bound() {
    let (compiler, agents) = crowded().await;
    let finished = (0..MANY).map(|number| Pod { lifecycle: Lifecycle::Finished, ..pod(1000 + number, 0) });
    let Change::Pod(Edit::Upsert(new)) = starting(NEW, 0) else { unreachable!() };
    let all = finished.chain([new]).collect();
    compiler.tell(Change::Pod(Edit::Replace(all)).into()).await;
    agents[0].say(AgentMessage::Sandboxes(vec![sandbox("s1", NEW, "10.0.9.1")])).await;
    until_written(&compiler, |ids| ids == 1).await;
    // Where there is room, the tombstone of a pod stays until its object is gone.
    let key = (node_name(0), SandboxId::new("s1").unwrap());
    compiler.context.writer.detach(&key.0, key.1).await.unwrap();
    let Change::Pod(Edit::Upsert(other)) = starting(NEW + 1, 0) else { unreachable!() };
    let ended = Pod { lifecycle: Lifecycle::Finished, ..pod(NEW, 0) };
    compiler.tell(Change::Pod(Edit::Replace(vec![ended, other])).into()).await;
    agents[0].say(AgentMessage::Sandboxes(vec![sandbox("s2", NEW + 1, "10.0.9.2")])).await;
    until_written(&compiler, |ids| ids == 2).await;
    compiler.tell(Change::Pod(Edit::Replace(vec![pod(NEW + 1, 0)])).into()).await;
    agents[0].say(AgentMessage::Sandboxes(vec![sandbox("s3", NEW + 1, "10.0.9.3")])).await;
    let are_its = || {
        compiler.context.engine.look(|view| {
            let object = view.world.node_pods().get(&node_name(0)).unwrap();
            object.sandboxes().iter().all(|sandbox| sandbox.pod.name.as_str() == format!("pod-{}", NEW + 1))
        })
    };
    patiently(async {
        while !are_its().await.unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_writes_so_much_and_no_more() {
    let (compiler, _agents) = crowded().await;
    let start = Instant::now();
    let entry = Entry {
        id: SandboxId::new("m0").unwrap(),
        pod: PodKey::new(NAMESPACE, "pod-1000").unwrap(),
        uid: PodUid::new("uid-1000").unwrap(),
        given: Some(Given { addresses: vec!["10.7.0.0".parse().unwrap()], interface: None }),
    };
    for _ in 0..60 {
        compiler.context.writer.detach(&node_name(0), entry.id.clone()).await.unwrap();
        compiler.context.writer.attach(&node_name(0), entry.clone()).await.unwrap();
    }
    // Of the clock that stands still while something is done: 120 writes of some 100 kB, 4 MB of them at once.
    let took = start.elapsed().as_secs();
    assert!((5..20).contains(&took), "{took} s");
    // Another node's are its own.
    let start = Instant::now();
    let other = Entry { id: SandboxId::new("o").unwrap(), ..entry };
    compiler.context.writer.attach(&node_name(1), other).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_says_something_else_of_its_pods_all_the_time_is_heard_once_in_a_while() {
    let (compiler, agents) = settled(1).await;
    compiler.tell(starting(NEW, 0).into()).await;
    for number in 0..50 {
        let said = sandbox(&format!("f{number}"), NEW, &format!("10.0.9.{number}"));
        agents[0].say(AgentMessage::Sandboxes(vec![said])).await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let looking = compiler.context.engine.look(|view| {
        let object = view.world.node_pods().get(&node_name(0)).unwrap();
        let pod = PodKey::new(NAMESPACE, &format!("pod-{NEW}")).unwrap();
        (
            object.sandboxes().len(),
            format!("{:?}", object.of(&pod, &PodUid::new(&format!("uid-{NEW}")).unwrap())),
        )
    });
    let (count, known) = looking.await.unwrap();
    assert!((1..=4).contains(&count), "{count}");
    assert!(known.contains("10.0.9.49"), "the last word counts: {known}");
}

#[tokio::test(start_paused = true)]
async fn a_node_has_so_many_calls_under_way_and_others_have_theirs() {
    let (compiler, mut agents) = settled(2).await;
    let mut calls = Vec::new();
    for _ in 0..4 {
        let client = NodeServiceClient::new(compiler.dial().await.0);
        for number in 0..60 {
            let mut client = client.clone();
            // Pods that nobody knows, which are waited for.
            let sandbox = sandbox(&format!("q{number}"), 5000 + number, "10.0.9.1");
            let request = v1::AttachRequest::from(Attach { node: node_name(0), sandbox, within: WITHIN });
            calls.push(tokio::spawn(async move { client.attach(request).await.unwrap_err().code() }));
        }
    }
    compiler.tell(starting(NEW, 1).into()).await;
    let call = attach(&compiler, 1, sandbox("s1", NEW, "10.0.9.7")).await;
    agents[1].apply().await;
    agents[0].apply().await;
    assert_eq!(answer(call).await.map(|it| it.reach), Ok(Reach::Everywhere));
    let mut refused = 0;
    for call in calls {
        match patiently(call).await.unwrap() {
            Code::ResourceExhausted => refused += 1,
            code => assert_eq!(code, Code::DeadlineExceeded),
        }
    }
    assert_eq!(refused, 240 - 128);
}
