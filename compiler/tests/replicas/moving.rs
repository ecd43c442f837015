//! An agent that moves to a replica which lags: it is never taken back.

use flock_proto::UpdateKind;
use flock_testkit::{ApiServer, NAMESPACE, NETWORK_POLICY, NODE, POD, Proxy};
use serde_json::{Value, json};

use super::agent::{self, Agent};
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
    let mut agent = Agent::default();
    let mut stream = agent.call(&pair.ahead).await;
    assert!(matches!(agent.next(&mut stream).await.unwrap().kind, UpdateKind::Full(_)));
    assert!(!agent.position.is_unknown());
    let position = agent.position.clone();
    // Time goes by, and nothing happens but that versions move on.
    pair.server.store().bookmark();
    for replica in [&pair.behind, &pair.ahead] {
        let mut stream = agent.call(replica).await;
        assert_eq!(agent.next(&mut stream).await.unwrap().kind, UpdateKind::Current);
        assert_eq!(agent.position, position);
        assert_eq!(replica.metrics.refusals.get(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_more_than_a_replica_is_not_taken_back() {
    let pair = Pair::start().await;
    let mut agent = Agent::default();
    let old = pair.ahead.revision().await;
    let mut stream = agent.call(&pair.ahead).await;
    agent.reach(&mut stream, &old).await;

    pair.proxy.hold();
    pair.allow("db");
    let new = pair.ahead.other_than(&old).await;
    agent.reach(&mut stream, &new).await;
    drop(stream);
    assert_eq!(pair.behind.revision().await, old, "it is held back");

    let mut stream = agent.call(&pair.behind).await;
    pair.behind.until_waiting(1).await;
    assert!(!stream.is_told_something().await);
    pair.proxy.release();
    let update = agent.next(&mut stream).await.unwrap();
    assert_eq!((update.revision, update.kind), (new, UpdateKind::Current));
    pair.behind.until_waiting(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_catches_up_sends_nothing_that_is_older() {
    let pair = Pair::start().await;
    let mut agent = Agent::default();
    let first = pair.ahead.revision().await;
    let mut stream = agent.call(&pair.ahead).await;
    agent.reach(&mut stream, &first).await;

    // There and back: the agent has what the replica that lags would send, and the way there still lies before that.
    pair.proxy.hold();
    pair.allow("db");
    let second = pair.ahead.other_than(&first).await;
    agent.reach(&mut stream, &second).await;
    pair.allow("web");
    assert_eq!(pair.ahead.other_than(&second).await, first);
    agent.reach(&mut stream, &first).await;
    drop(stream);
    assert_eq!(pair.behind.revision().await, first);

    let mut stream = agent.call(&pair.behind).await;
    pair.behind.until_waiting(1).await;
    pair.allow("nobody");
    let third = pair.ahead.other_than(&first).await;
    pair.proxy.release();
    let way = agent.reach(&mut stream, &third).await;
    assert!(!way.contains(&second), "taken back on the way: {way:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_known_too() {
    let pair = Pair::start().await;
    let mut agent = Agent::default();
    let before = pair.ahead.revision().await;
    let mut stream = agent.call(&pair.ahead).await;
    agent.reach(&mut stream, &before).await;

    pair.proxy.hold();
    pair.server.store().remove(NETWORK_POLICY, "a", "allow").unwrap();
    let after = pair.ahead.other_than(&before).await;
    agent.reach(&mut stream, &after).await;

    // A replica that starts now never hears of it, and hands on that the agent knows.
    let latest = Replica::start(pair.server.address()).await;
    let position = agent.position.clone();
    let mut stream = agent.call(&latest).await;
    assert_eq!(agent.next(&mut stream).await.unwrap().kind, UpdateKind::Current);
    assert_eq!(agent.position, position);

    let mut stream = agent.call(&pair.behind).await;
    pair.behind.until_waiting(1).await;
    assert!(!stream.is_told_something().await);
    pair.proxy.release();
    assert_eq!(agent.next(&mut stream).await.unwrap().kind, UpdateKind::Current);
}
