//! What CNI did, written down through an API server: nothing is lost between replicas, and pods that start together cost
//! a few writes.

use std::sync::Arc;
use std::time::Duration;

use flock_compiler::attach::{AttachmentWriter, Entry, Given, Store, WriteError};
use flock_compiler::engine::Engine;
use flock_compiler::fleet::Fleet;
use flock_compiler::metrics::Metrics;
use flock_compiler::source::kubernetes::client;
use flock_compiler_core::object::PodUid;
use flock_shared::cni::SandboxId;
use flock_shared::{NodeName, PodKey};
use flock_testkit::{ApiServer, Failure, NODE, NODE_PODS, Verb};
use serde_json::{Value, json};

use super::agent;

fn node() -> NodeName {
    NodeName::new(agent::NODE).unwrap()
}

async fn server() -> ApiServer {
    let server = ApiServer::start().await.unwrap();
    server.store().put(NODE, json!({ "metadata": { "name": agent::NODE } })).unwrap();
    server
}

/// The writer of a replica that has read nothing yet, and serves no agent.
fn writer(server: &ApiServer) -> AttachmentWriter {
    let (_, engine) = Engine::new(Arc::new(Metrics::default()));
    AttachmentWriter::new(
        Store::cluster(client(server.config()).unwrap()),
        engine,
        Arc::new(Fleet::default()),
    )
}

fn entry(number: u8) -> Entry {
    Entry {
        id: id(number),
        pod: PodKey::new("a", &format!("p{number}")).unwrap(),
        uid: PodUid::new(&format!("u{number}")).unwrap(),
        given: Some(Given { addresses: vec![[10, 0, 0, number].into()], interface: None }),
    }
}

fn id(number: u8) -> SandboxId {
    SandboxId::new(&format!("s{number}")).unwrap()
}

/// The pods of the object that have addresses, in order.
fn pods(server: &ApiServer) -> Vec<String> {
    let object = server.store().get(NODE_PODS, "", agent::NODE).unwrap_or_default();
    let listed = object.pointer("/spec/sandboxes").and_then(Value::as_array).cloned().unwrap_or_default();
    let there = listed.iter().filter(|it| it.get("detached").is_none());
    let mut names: Vec<String> = there.map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn writes(server: &ApiServer) -> u64 {
    server.requests(NODE_PODS, Verb::Create) + server.requests(NODE_PODS, Verb::Update)
}

async fn all(writer: &AttachmentWriter, numbers: impl Iterator<Item = u8>) {
    let calls = numbers.map(|number| {
        let writer = writer.clone();
        tokio::spawn(async move { writer.attach(&node(), entry(number)).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_object_is_made_with_its_node_and_goes_with_it() {
    let server = server().await;
    writer(&server).attach(&node(), entry(1)).await.unwrap();
    let object = server.store().get(NODE_PODS, "", agent::NODE).unwrap();
    let uid = server.store().get(NODE, "", agent::NODE).unwrap()["metadata"]["uid"].clone();
    let owner = json!([{ "apiVersion": "v1", "kind": "Node", "name": agent::NODE, "uid": uid }]);
    assert_eq!((&object["metadata"]["ownerReferences"], &object["kind"]), (&owner, &json!("NodePods")));
    assert_eq!(object["spec"]["sandboxes"][0]["addresses"], json!(["10.0.0.1"]));
}

#[tokio::test]
async fn pods_that_start_together_cost_a_few_writes_and_one_after_the_other_one_each() {
    let server = server().await;
    for verb in [Verb::Create, Verb::Update] {
        server.faults().delay(NODE_PODS, verb, Duration::from_millis(20));
    }
    let writer = writer(&server);
    all(&writer, 1..=100).await;
    assert_eq!(pods(&server).len(), 100);
    assert!(writes(&server) <= 4, "{} writes", writes(&server));
    let (before, read) = (writes(&server), server.requests(NODE_PODS, Verb::Get));
    for number in 101..=110 {
        writer.attach(&node(), entry(number)).await.unwrap();
        writer.attach(&node(), entry(number)).await.unwrap();
    }
    assert_eq!((writes(&server) - before, server.requests(NODE_PODS, Verb::Get) - read), (10, 0));
    for number in 1..=110 {
        let found = writer.detach(&node(), id(number)).await.unwrap();
        assert_eq!(found, Some(entry(number)));
    }
    assert_eq!(pods(&server), [""; 0]);
}

#[tokio::test]
async fn replicas_that_write_at_once_take_nothing_from_each_other() {
    let server = server().await;
    let keepers = [writer(&server), writer(&server)];
    for round in 0..5 {
        let first = round * 40;
        let half = |which: u8| (first..first + 40).filter(move |number| number % 2 == which);
        tokio::join!(all(&keepers[0], half(0)), all(&keepers[1], half(1)));
    }
    assert_eq!(pods(&server).len(), 200);
}

#[tokio::test]
async fn what_an_api_server_that_is_away_could_not_take_is_written_later() {
    let server = server().await;
    let writer = writer(&server);
    writer.attach(&node(), entry(1)).await.unwrap();
    server.go_away();
    let calls = [2, 3].map(|number| {
        let writer = writer.clone();
        tokio::spawn(async move { writer.attach(&node(), entry(number)).await })
    });
    let gone = {
        let writer = writer.clone();
        tokio::spawn(async move { writer.detach(&node(), id(1)).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Who waits gives up; the call stays.
    calls[0].abort();
    server.come_back();
    gone.await.unwrap().unwrap();
    flock_testkit::wait_until("both are written", || pods(&server) == ["p2", "p3"]).await.unwrap();
}

#[tokio::test]
async fn a_cluster_without_the_kind_says_so_at_once() {
    let server = server().await;
    for code in [404, 403] {
        server.faults().fail(NODE_PODS, Verb::Create, Failure { code, retry_after: None }, 1);
        let refused = writer(&server).attach(&node(), entry(1)).await;
        assert!(matches!(refused, Err(WriteError::Absent(_))), "{refused:?}");
    }
    writer(&server).attach(&node(), entry(1)).await.unwrap();
}

#[tokio::test]
async fn an_object_that_somebody_has_damaged_is_mended_by_the_next_call() {
    let server = server().await;
    let metadata = json!({ "name": agent::NODE, "labels": { "somebodys": "own" } });
    let odd = json!({ "metadata": metadata, "spec": { "sandboxes": [7, { "id": "x" }], "y": 1 } });
    server.store().put(NODE_PODS, odd).unwrap();
    writer(&server).attach(&node(), entry(1)).await.unwrap();
    let object = server.store().get(NODE_PODS, "", agent::NODE).unwrap();
    assert_eq!(
        (pods(&server), &object["metadata"]["labels"]["somebodys"]),
        (vec!["p1".to_owned()], &json!("own"))
    );
    // A server drops the fields that the kind's schema does not have.
    assert_eq!(object["spec"]["y"], Value::Null);
    assert_eq!(object["spec"]["sandboxes"].as_array().unwrap().len(), 1);
}

/// A node that has no room for one more pod has room for the ends of those that it has, and for those to come again.
#[tokio::test]
async fn what_a_full_node_cannot_have_keeps_nothing_else_from_being_written() {
    let server = server().await;
    let sandbox = |number: usize| {
        let at = format!("10.1.{}.{}", number / 250, number % 250);
        json!({ "id": format!("f{number}"), "namespace": "a", "name": format!("f{number}"), "uid": "u", "addresses": [at] })
    };
    let all: Vec<Value> = (0..1023).map(sandbox).collect();
    server
        .store()
        .put(NODE_PODS, json!({ "metadata": { "name": agent::NODE }, "spec": { "sandboxes": all } }))
        .unwrap();
    let writer = writer(&server);
    writer.attach(&node(), entry(1)).await.unwrap();
    // While the first is written, the others come together.
    server.faults().delay(NODE_PODS, Verb::Update, Duration::from_millis(50));
    let moved = Given { addresses: vec![[10, 0, 0, 99].into()], interface: None };
    let calls = [
        Entry { given: Some(moved.clone()), ..entry(1) },
        entry(2),
        Entry { given: Some(moved), ..entry(1) },
        entry(3),
    ]
    .map(|entry| {
        let writer = writer.clone();
        tokio::spawn(async move { writer.attach(&node(), entry).await })
    });
    let gone = writer.detach(&node(), SandboxId::new("f7").unwrap()).await.unwrap();
    assert_eq!(gone.map(|entry| entry.pod.name.to_string()).as_deref(), Some("f7"));
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    let full = |answer: &Result<(), WriteError>| matches!(answer, Err(WriteError::Invalid(why)) if why.contains("1024"));
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert!(full(&answers[1]) && full(&answers[3]), "{answers:?}");
    assert_eq!(pods(&server).len(), 1023, "one of them is gone");
}

/// What callers leave behind while nothing can be written does not grow.
#[tokio::test]
async fn a_node_that_calls_and_gives_up_while_the_api_server_is_away_is_not_kept_for_ever() {
    let server = server().await;
    let writer = writer(&server);
    writer.attach(&node(), entry(1)).await.unwrap();
    server.go_away();
    let entry = |number: usize| Entry {
        id: SandboxId::new(&format!("x{number}")).unwrap(),
        given: Some(Given {
            addresses: vec![[10, 2, (number >> 8) as u8, number as u8].into()],
            interface: None,
        }),
        ..entry(9)
    };
    let mut busy = 0;
    for number in 0..2200 {
        let (writer, node) = (writer.clone(), node());
        let calling = writer.attach(&node, entry(number));
        match tokio::time::timeout(Duration::from_micros(1), calling).await {
            Ok(Err(WriteError::Busy)) => busy += 1,
            Ok(answer) => panic!("{answer:?}"),
            Err(_) => {}
        }
    }
    // More than there may be: who still has patience is told at once.
    let last = tokio::time::timeout(Duration::from_secs(30), writer.attach(&node(), entry(5000))).await;
    assert!(matches!(last, Ok(Err(WriteError::Busy))) && busy <= 2200, "{last:?}, {busy}");
    server.come_back();
    flock_testkit::wait_until("the node has room again", || pods(&server).len() > 1).await.unwrap();
}
