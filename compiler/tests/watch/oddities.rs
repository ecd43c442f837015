//! Events and objects that no server should send: they change nothing else and end nothing.

use flock_testkit::{NAMESPACE, NETWORK_POLICY, POD};
use serde_json::json;

use super::harness::{Cluster, server, settings};
use super::objects::{namespace, pod, policy};

#[tokio::test]
async fn events_told_twice_change_nothing() {
    let mut cluster = Cluster::settled().await;
    cluster.until_watched().await;
    let before = cluster.server.store().version();
    for last in 1..=5 {
        cluster.put(POD, pod("a", "p2", last));
    }
    cluster.put(POD, pod("a", "brief", 9));
    cluster.remove(POD, "a", "brief");
    cluster.server.store().replay(POD, before);
    cluster.settle().await;
    // The replay brings it into being and takes it away once more.
    assert!(cluster.told("Pod a/brief").is_none());
    assert_eq!(cluster.listings(), [1; 5]);
}

#[tokio::test]
async fn contradictory_events_are_taken_as_they_come() {
    let mut cluster = Cluster::settled().await;
    cluster.until_watched().await;
    let store = cluster.server.store();
    let version = store.version().to_string();
    let known = store.get(POD, "a", "p2").unwrap();
    store.send_line(POD, &json!({ "type": "ADDED", "object": known }).to_string());
    let unknown = json!({ "metadata": { "namespace": "a", "name": "never", "resourceVersion": version } });
    store.send_line(POD, &json!({ "type": "DELETED", "object": unknown }).to_string());
    cluster.settle().await;
    assert_eq!(cluster.vanished(), [""; 0]);
    assert_eq!(cluster.listings(), [1; 5]);
}

#[tokio::test]
async fn an_event_that_is_no_json_makes_a_new_listing() {
    let mut cluster = Cluster::settled().await;
    cluster.until_watched().await;
    cluster.server.faults().corrupt(POD, 1);
    cluster.put(POD, pod("a", "p2", 99));
    // The next event can be read: to go on from it would lose the one before.
    cluster.put(POD, pod("a", "p4", 98));
    cluster.settle().await;
    assert_eq!(cluster.statistics.pods.listings(), 2);
    assert_eq!(cluster.statistics.nodes.listings(), 1);
    assert_eq!(cluster.vanished(), [""; 0]);
}

#[tokio::test]
async fn events_that_are_no_events_make_a_new_listing() {
    for line in [r#"{"type":"RENAMED","object":{}}"#, "[]", r#"{"type":"ADDED","object":{"metadata":{}}}"#] {
        let mut cluster = Cluster::settled().await;
        cluster.until_watched().await;
        cluster.server.store().send_line(NAMESPACE, line);
        cluster.put(NAMESPACE, namespace("new"));
        cluster.until("namespaces are listed again", |it| it.statistics.namespaces.listings() == 2).await;
        cluster.settle().await;
        assert_eq!(cluster.vanished(), [""; 0], "{line}");
    }
}

#[tokio::test]
async fn a_policy_with_a_field_of_a_later_api_isolates_and_the_watch_goes_on() {
    let mut later = policy("a", "later", "p4");
    later["spec"]["ingress"][0]["from"][0]["serviceSelector"] = json!({});
    let server = server().await;
    server.store().put(NETWORK_POLICY, later.clone()).unwrap();
    let mut cluster = Cluster::watch(server, settings());
    cluster.settle().await;
    let told = cluster.told("NetworkPolicy a/later").unwrap();
    assert!(told.contains("NotUnderstood") && told.contains("serviceSelector"), "{told}");

    // The same by the watch.
    later["metadata"]["name"] = json!("later-still");
    cluster.put(NETWORK_POLICY, later);
    cluster.settle().await;
    assert!(cluster.told("NetworkPolicy a/later-still").unwrap().contains("NotUnderstood"));
    assert_eq!(cluster.listings(), [1; 5]);
    assert_eq!(cluster.reported(), [""; 0], "a policy's faults are the policy's");
}

#[tokio::test]
async fn a_pod_that_cannot_be_understood_keeps_its_last_state_until_mended_or_gone() {
    let mut cluster = Cluster::settled().await;
    let before = cluster.told("Pod a/p2").unwrap().to_owned();
    let mut broken = pod("a", "p2", 2);
    broken["metadata"]["labels"] = json!({ "app": 7 });
    cluster.put(POD, broken);
    cluster.until("it is reported", |it| it.reported() == ["kubernetes Pod a/p2"]).await;
    assert_eq!(cluster.told("Pod a/p2"), Some(&*before));

    // It stays so when pods are listed anew.
    cluster.server.go_away();
    cluster.remove(POD, "a", "p4");
    cluster.move_version();
    cluster.server.store().compact();
    cluster.server.come_back();
    cluster.until("the other one is gone", |it| it.told("Pod a/p4").is_none()).await;
    assert_eq!(cluster.told("Pod a/p2"), Some(&*before));
    assert_eq!(cluster.reported(), ["kubernetes Pod a/p2"]);

    cluster.put(POD, pod("a", "p2", 97));
    cluster.settle().await;
    assert_eq!(cluster.reported(), [""; 0]);
    assert_eq!(cluster.vanished(), ["Pod a/p4"]);
}

#[tokio::test]
async fn no_object_spoils_a_listing() {
    let server = server().await;
    let store = server.store();
    store.put(POD, json!({ "metadata": { "namespace": "a", "name": "Bad Name" } })).unwrap();
    store.put(POD, json!({ "metadata": { "namespace": "a", "name": "odd", "creationTimestamp": 7, "ownerReferences": 7 }, "spec": [] })).unwrap();
    let mut cluster = Cluster::watch(server, settings());
    cluster.settle().await;
    assert_eq!(cluster.reported(), ["kubernetes Pod a/Bad Name", "kubernetes Pod a/odd"]);
    cluster.remove(POD, "a", "Bad Name");
    cluster.remove(POD, "a", "odd");
    cluster.settle().await;
    assert_eq!(cluster.reported(), [""; 0]);
    assert_eq!(cluster.vanished(), [""; 0]);
}
