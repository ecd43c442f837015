//! An API server that is away or refuses: what was read stays in force until it says otherwise.

use flock_testkit::{Failure, NAMESPACE, NETWORK_POLICY, NODE, NODE_PODS, POD, Verb};

use super::harness::Cluster;
use super::objects::{namespace, node, pod, policy};

#[tokio::test]
async fn what_was_missed_while_the_server_was_away_is_caught_up_by_the_watch() {
    let mut cluster = Cluster::settled().await;
    cluster.server.go_away();
    cluster.remove(POD, "b", "p1");
    cluster.put(POD, pod("b", "p3", 70));
    // Gone and come back as another object meanwhile.
    cluster.remove(POD, "b", "p5");
    cluster.put(POD, pod("b", "p5", 71));
    cluster.put(NAMESPACE, namespace("late"));
    cluster.remove(NAMESPACE, "", "late");
    cluster
        .until("the source has noticed", |it| {
            it.statistics.kinds().iter().all(|(_, kind)| kind.failures() > 1)
        })
        .await;
    assert!(cluster.told("Pod b/p1").is_some(), "nothing is taken back because the server is away");
    cluster.server.come_back();
    cluster.settle().await;
    assert_eq!(cluster.listings(), [1; 5]);
    assert_eq!(cluster.vanished(), ["Namespace late", "Pod b/p1", "Pod b/p5"]);
}

#[tokio::test]
async fn a_server_that_comes_back_with_everything_changed_is_listed_again() {
    let mut cluster = Cluster::settled().await;
    cluster.server.go_away();
    for kind in [POD, NETWORK_POLICY, NAMESPACE, NODE, NODE_PODS] {
        for object in cluster.server.store().all(kind) {
            let metadata = |field| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            cluster.remove(kind, &metadata("namespace"), &metadata("name"));
        }
    }
    cluster.put(NODE, node("other"));
    cluster.put(NAMESPACE, namespace("other"));
    cluster.put(POD, pod("other", "only", 72));
    cluster.put(NETWORK_POLICY, policy("other", "only", "only"));
    cluster.move_version();
    cluster.server.store().compact();
    cluster.server.come_back();
    cluster.settle().await;
    assert!(cluster.told("Pod b/p1").is_none());
    assert_eq!(cluster.listings(), [2; 5]);
}

#[tokio::test]
async fn refused_watches_are_tried_again_from_the_same_version() {
    for code in [401, 403, 429, 500, 503, 504] {
        let mut cluster = Cluster::settled().await;
        cluster.until_watched().await;
        cluster.server.faults().fail(POD, Verb::Watch, Failure { code, retry_after: None }, 3);
        cluster.server.store().end_watches(POD);
        cluster.put(POD, pod("a", "new", 73));
        cluster.settle().await;
        assert!(cluster.statistics.pods.failures() >= 3, "{code}");
        assert_eq!(cluster.listings(), [1; 5], "{code}");
    }
}

#[tokio::test]
async fn refused_listings_are_tried_again() {
    let server = super::harness::server().await;
    for code in [403, 429, 500, 503] {
        server.faults().fail(POD, Verb::List, Failure { code, retry_after: None }, 2);
    }
    let mut cluster = Cluster::watch(server, super::harness::settings());
    cluster.settle().await;
    assert_eq!(cluster.statistics.pods.failures(), 8);
    assert_eq!(cluster.statistics.nodes.failures(), 0);
}

#[tokio::test]
async fn a_wait_that_the_server_asks_for_is_kept() {
    let server = super::harness::server().await;
    server.faults().fail(NODE, Verb::List, Failure { code: 429, retry_after: Some(3600) }, 1);
    let mut cluster = Cluster::watch(server, super::harness::settings());
    cluster.until("the others are watched", |it| it.listed().len() == 3).await;
    cluster.until("pods go on", |it| it.statistics.pods.watches() > 0).await;
    assert_eq!(cluster.server.requests(NODE, Verb::List), 1, "not asked again before its time");
}
