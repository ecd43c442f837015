//! Versions that the server does not remember any more: 410 in both forms, and the bookmarks that spare it.

use flock_testkit::{Cut, Expiry, NETWORK_POLICY, NODE, POD};

use super::harness::Cluster;
use super::objects::{node, pod, policy};

async fn missed_changes_are_noticed_by_a_new_listing(expiry: Expiry) {
    let mut cluster = Cluster::settled().await;
    cluster.server.faults().expire_with(expiry);
    cluster.server.go_away();
    cluster.remove(POD, "b", "p1");
    cluster.put(POD, pod("b", "p3", 50));
    cluster.put(POD, pod("b", "new", 51));
    cluster.remove(NETWORK_POLICY, "a", "allow");
    cluster.put(NODE, node("n2"));
    cluster.move_version();
    cluster.server.store().compact();
    cluster.server.come_back();
    cluster.settle().await;
    assert_eq!(cluster.expirations(), [1; 5]);
    assert_eq!(cluster.listings(), [2; 5]);
    assert_eq!(cluster.vanished(), ["NetworkPolicy a/allow", "Pod b/p1"]);
}

#[tokio::test]
async fn a_410_event_lists_again() {
    missed_changes_are_noticed_by_a_new_listing(Expiry::Event).await;
}

#[tokio::test]
async fn a_410_response_lists_again() {
    missed_changes_are_noticed_by_a_new_listing(Expiry::Response).await;
}

#[tokio::test]
async fn a_410_in_the_middle_of_a_watch_lists_again() {
    let mut cluster = Cluster::settled().await;
    let gone =
        r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Gone","message":"too old"}}"#;
    cluster.server.store().send_line(POD, gone);
    cluster.until("pods are listed again", |it| it.statistics.pods.listings() == 2).await;
    cluster.settle().await;
    assert_eq!(cluster.statistics.pods.expirations(), 1);
    assert_eq!(cluster.statistics.pods.failures(), 0, "an expiration is no failure");
    assert_eq!(cluster.vanished(), [""; 0]);
}

#[tokio::test]
async fn a_bookmark_spares_the_new_listing() {
    let mut cluster = Cluster::settled().await;
    cluster.until_watched().await;
    cluster.move_version();
    cluster.server.store().bookmark();
    cluster.server.store().compact();
    cluster.server.store().cut_watches(Cut::Close);
    cluster.settle().await;
    assert_eq!(cluster.listings(), [1; 5]);
    assert_eq!(cluster.expirations(), [0; 5]);
}

#[tokio::test]
async fn without_a_bookmark_the_version_expires() {
    let mut cluster = Cluster::settled().await;
    cluster.until_watched().await;
    cluster.move_version();
    cluster.server.store().compact();
    cluster.server.store().cut_watches(Cut::Close);
    cluster.until("all kinds are listed again", |it| it.listings() == [2; 5]).await;
    cluster.settle().await;
    assert_eq!(cluster.expirations(), [1; 5]);
    assert_eq!(cluster.vanished(), [""; 0]);
}

#[tokio::test]
async fn a_server_that_always_forgets_is_asked_with_pauses_and_nothing_is_lost() {
    let mut cluster = Cluster::settled().await;
    for round in 1..=5 {
        cluster.put(NETWORK_POLICY, policy("b", "allow", &format!("p{round}")));
        cluster.move_version();
        cluster.server.store().compact();
        cluster.server.store().cut_watches(Cut::Reset);
    }
    cluster.settle().await;
    assert_eq!(cluster.vanished(), [""; 0]);
}
