//! An agent that moves to a replica which lags: it is never taken back.

use flock_proto::UpdateKind;
use flock_testkit::agent::AgentMemory;
use flock_testkit::{ApiServer, NAMESPACE, NETWORK_POLICY, NODE, POD, Proxy};
use serde_json::{Value, json};

use super::agent::{self, call};
use super::replica::Replica;

pub(super) fn namespace(name: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": { "name": name } } })
}

pub(super) fn node(name: &str) -> Value {
    json!({ "metadata": { "name": name } })
}

pub(super) fn pod(name: &str, last: u8) -> Value {
    json!({
        "metadata": { "namespace": "a", "name": name, "labels": { "app": name } },
        "spec": { "nodeName": agent::NODE },
        "status": { "phase": "Running", "podIPs": [{ "ip": format!("10.0.0.{last}") }] },
    })
}

pub(super) fn allow(name: &str, from: &str) -> Value {
    json!({
        "metadata": { "namespace": "a", "name": name },
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": [{ "podSelector": { "matchLabels": { "app": from } } }] }],
        },
    })
}

/// A server, one replica that follows it at once, and one that can be held back.
struct Pair {
    server: ApiServer,
    ahead: Replica,
    behind: Replica,
    proxy: Proxy,
}

impl Pair {
    async fn start() -> Self {
        let server = ApiServer::start().await.unwrap();
        let put = |kind, object| drop(server.store().put(kind, object).unwrap());
        put(NODE, node(agent::NODE));
        put(NAMESPACE, namespace("a"));
        put(POD, pod("web", 1));
        put(POD, pod("db", 2));
        put(NETWORK_POLICY, allow("allow", "web"));
        let proxy = Proxy::start(server.address()).await.unwrap();
        let ahead = Replica::start(server.address()).await;
        let behind = Replica::start(proxy.address()).await;
        assert_eq!(ahead.revision().await, behind.revision().await);
        for kind in [NODE, NAMESPACE, POD, NETWORK_POLICY] {
            flock_testkit::wait_until("both watch", || server.store().watches(kind) == 2).await.unwrap();
        }
        Self { server, ahead, behind, proxy }
    }

    fn allow(&self, from: &str) {
        self.server.store().put(NETWORK_POLICY, allow("allow", from)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_moves_between_replicas_that_agree_is_told_that_nothing_is_new() {
    let pair = Pair::start().await;
    let mut agent = call(&pair.ahead, &AgentMemory::default()).await;
    assert!(matches!(agent.take().await.unwrap().kind, UpdateKind::Full(_)));
    assert!(!agent.memory.position.is_unknown());
    let position = agent.memory.position.clone();
    // Time goes by, and nothing happens but that versions move on.
    pair.server.store().bookmark();
    for replica in [&pair.behind, &pair.ahead] {
        agent = call(replica, &agent.memory).await;
        assert_eq!(agent.take().await.unwrap().kind, UpdateKind::Current);
        assert_eq!(agent.memory.position, position);
        assert_eq!(replica.metrics.refusals.get(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_more_than_a_replica_is_not_taken_back() {
    let pair = Pair::start().await;
    let old = pair.ahead.revision().await;
    let mut agent = call(&pair.ahead, &AgentMemory::default()).await;
    agent.reach(&old).await;

    pair.proxy.hold();
    pair.allow("db");
    let new = pair.ahead.other_than(&old).await;
    agent.reach(&new).await;
    let memory = agent.memory.clone();
    drop(agent);
    assert_eq!(pair.behind.revision().await, old, "it is held back");

    let mut agent = call(&pair.behind, &memory).await;
    pair.behind.until_waiting(1).await;
    assert!(!agent.is_told_something().await);
    pair.proxy.release();
    let update = agent.take().await.unwrap();
    assert_eq!((update.revision, update.kind), (new, UpdateKind::Current));
    pair.behind.until_waiting(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_catches_up_sends_nothing_that_is_older() {
    let pair = Pair::start().await;
    let first = pair.ahead.revision().await;
    let mut agent = call(&pair.ahead, &AgentMemory::default()).await;
    agent.reach(&first).await;

    // There and back: the agent has what the replica that lags would send, and the way there still lies before that.
    pair.proxy.hold();
    pair.allow("db");
    let second = pair.ahead.other_than(&first).await;
    agent.reach(&second).await;
    pair.allow("web");
    assert_eq!(pair.ahead.other_than(&second).await, first);
    agent.reach(&first).await;
    let memory = agent.memory.clone();
    drop(agent);
    assert_eq!(pair.behind.revision().await, first);

    let mut agent = call(&pair.behind, &memory).await;
    pair.behind.until_waiting(1).await;
    pair.allow("nobody");
    let third = pair.ahead.other_than(&first).await;
    pair.proxy.release();
    let way = agent.reach(&third).await;
    assert!(!way.contains(&second), "taken back on the way: {way:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_known_too() {
    let pair = Pair::start().await;
    let before = pair.ahead.revision().await;
    let mut agent = call(&pair.ahead, &AgentMemory::default()).await;
    agent.reach(&before).await;

    pair.proxy.hold();
    pair.server.store().remove(NETWORK_POLICY, "a", "allow").unwrap();
    let after = pair.ahead.other_than(&before).await;
    agent.reach(&after).await;

    // A replica that starts now never hears of it, and hands on that the agent knows.
    let latest = Replica::start(pair.server.address()).await;
    let position = agent.memory.position.clone();
    agent = call(&latest, &agent.memory).await;
    assert_eq!(agent.take().await.unwrap().kind, UpdateKind::Current);
    assert_eq!(agent.memory.position, position);

    agent = call(&pair.behind, &agent.memory).await;
    pair.behind.until_waiting(1).await;
    assert!(!agent.is_told_something().await);
    pair.proxy.release();
    assert_eq!(agent.take().await.unwrap().kind, UpdateKind::Current);
}
