//! Replicas that learn of the same objects in different ways come to the same revision.

use flock_testkit::{ApiServer, NAMESPACE, NETWORK_POLICY, NODE, POD};

use super::agent;
use super::moving::{allow, namespace, node, pod};
use super::replica::Replica;

#[tokio::test(flavor = "multi_thread")]
async fn equal_objects_have_one_revision_however_they_came() {
    let server = ApiServer::start().await.unwrap();
    let empty = Replica::start(server.address()).await;
    // One event after the other, subjects last; some come and go.
    let put = |kind, object| drop(server.store().put(kind, object).unwrap());
    put(NETWORK_POLICY, allow("second", "db"));
    put(NETWORK_POLICY, allow("first", "web"));
    put(NETWORK_POLICY, allow("passing", "nobody"));
    for last in 1..=9 {
        put(POD, pod(["web", "db", "cache"][usize::from(last) % 3], last));
    }
    let partly = Replica::start(server.address()).await;
    server.store().remove(NETWORK_POLICY, "a", "passing").unwrap();
    put(POD, pod("late", 20));
    put(NAMESPACE, namespace("a"));
    put(NODE, node(agent::NODE));

    let listed = Replica::start(server.address()).await;
    let revision = listed.revision().await;
    for replica in [&empty, &partly] {
        let mut desired = replica.engine.subscribe(agent::NODE.parse().unwrap()).await.unwrap();
        let equal = desired.wait_for(|it| it.as_ref().is_some_and(|it| *it.revision() == revision));
        tokio::time::timeout(std::time::Duration::from_secs(60), equal).await.expect("one revision").unwrap();
    }
}
