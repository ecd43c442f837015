//! Listing: pages, and that nothing is told of a kind before all of it was read.

use std::time::Duration;

use flock_testkit::{Delivery, Failure, NAMESPACE, POD, Verb};

use super::harness::{Cluster, server, settings};
use super::objects::{namespace, pod};

#[tokio::test]
async fn all_pages_make_one_listing_and_changes_follow() {
    let mut cluster = Cluster::settled().await;
    assert_eq!(cluster.server.requests(POD, Verb::List), 3, "20 pods in pages of 7");
    assert_eq!(cluster.listings(), [1; 5]);

    cluster.put(POD, pod("a", "new", 30));
    cluster.put(POD, pod("a", "p2", 31));
    cluster.remove(POD, "a", "p4");
    cluster.put(NAMESPACE, namespace("c"));
    cluster.settle().await;
    assert_eq!(cluster.vanished(), ["Pod a/p4"]);
    assert_eq!(cluster.listings(), [1; 5], "changes come by the watch");
}

#[tokio::test]
async fn a_kind_is_silent_until_it_was_listed_and_holds_no_other_up() {
    let server = server().await;
    let failure = Failure { code: 500, retry_after: None };
    server.faults().fail(POD, Verb::List, failure, usize::MAX);
    let mut cluster = Cluster::watch(server, settings());
    cluster.until("the others are listed", |it| it.listed().len() == 4).await;
    cluster.until("pods were asked for", |it| it.server.requests(POD, Verb::List) > 3).await;
    assert_eq!(cluster.listed(), ["Namespace", "NetworkPolicy", "Node", "NodePods"]);
    cluster.server.faults().mend();
    cluster.settle().await;
}

#[tokio::test]
async fn a_listing_that_breaks_off_tells_nothing() {
    let server = server().await;
    server.faults().deliver(Delivery::Held);
    let mut cluster = Cluster::watch(server, settings());
    cluster.until("pods are asked for", |it| it.server.requests(POD, Verb::List) > 0).await;
    cluster.server.go_away();
    cluster.remove(POD, "b", "p1");
    cluster.until("the source has noticed", |it| it.statistics.pods.failures() > 1).await;
    assert_eq!(cluster.listed(), [""; 0]);
    cluster.server.faults().deliver(Delivery::Whole);
    cluster.server.come_back();
    cluster.settle().await;
    assert_eq!(cluster.vanished(), [""; 0]);
}

#[tokio::test]
async fn objects_that_change_between_pages_come_by_the_watch() {
    let server = server().await;
    server.faults().deliver(Delivery::Held);
    let mut cluster = Cluster::watch(server, settings());
    cluster.until("the first page is under way", |it| it.server.requests(POD, Verb::List) == 1).await;
    cluster.remove(POD, "b", "p9");
    cluster.put(POD, pod("a", "aaa", 40));
    cluster.server.faults().deliver(Delivery::Whole);
    cluster.settle().await;
    assert_eq!(cluster.vanished(), ["Pod b/p9"], "the listing was of an earlier version");
}

#[tokio::test]
async fn a_page_that_expired_makes_a_new_listing() {
    let server = server().await;
    server.faults().deliver(Delivery::Held);
    let mut cluster = Cluster::watch(server, settings());
    cluster.until("the first page is under way", |it| it.server.requests(POD, Verb::List) == 1).await;
    cluster.put(POD, pod("a", "aaa", 40));
    cluster.server.store().compact();
    cluster.server.faults().deliver(Delivery::Whole);
    cluster.settle().await;
    assert!(cluster.statistics.pods.expirations() >= 1);
    assert_eq!(cluster.vanished(), [""; 0]);
}

#[tokio::test]
async fn slow_responses_in_odd_pieces_are_whole_in_the_end() {
    let server = server().await;
    server.faults().deliver(Delivery::Pieces { size: 101, pause: Duration::from_millis(1) });
    let mut cluster = Cluster::watch(server, settings());
    cluster.settle().await;
    cluster.put(POD, pod("a", "p2", 41));
    cluster.server.faults().deliver(Delivery::Pieces { size: 1, pause: Duration::ZERO });
    cluster.remove(POD, "a", "p4");
    cluster.settle().await;
    assert_eq!(cluster.vanished(), ["Pod a/p4"]);
    assert_eq!(cluster.listings(), [1; 5]);
}
