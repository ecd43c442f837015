//! Connections that end or fall silent: the watch resumes where it was.

use std::time::Duration;

use flock_compiler::source::kubernetes::WatchSettings;
use flock_testkit::{Cut, Delivery, POD, Verb};

use super::harness::{Cluster, WATCHED, server, settings};
use super::objects::pod;

async fn changes_go_on_while_connections_are_cut(cut: Cut) {
    let mut cluster = Cluster::settled().await;
    for round in 0..10 {
        cluster.until_watched().await;
        cluster.put(POD, pod("a", &format!("new{round}"), 60 + round));
        cluster.remove(POD, if (round + 1) % 2 == 0 { "a" } else { "b" }, &format!("p{}", round + 1));
        cluster.server.store().cut_watches(cut);
        cluster.put(POD, pod("a", "p20", 80 + round));
    }
    cluster.settle().await;
    assert_eq!(cluster.listings(), [1; 5], "the history was there to resume from");
    assert_eq!(cluster.vanished().len(), 10);
}

#[tokio::test]
async fn connections_closed_in_the_middle_of_a_chunk_lose_nothing() {
    changes_go_on_while_connections_are_cut(Cut::Close).await;
}

#[tokio::test]
async fn connections_reset_in_the_middle_of_a_chunk_lose_nothing() {
    changes_go_on_while_connections_are_cut(Cut::Reset).await;
}

#[tokio::test]
async fn an_event_cut_in_two_is_sent_again() {
    for cut in [Cut::Close, Cut::Reset] {
        let mut cluster = Cluster::settled().await;
        cluster.until_watched().await;
        cluster.server.store().cut_next_event(POD, cut);
        cluster.put(POD, pod("a", "new", 90));
        cluster.put(POD, pod("a", "p2", 91));
        cluster.settle().await;
        assert_eq!(cluster.statistics.pods.watches(), 2, "{cut:?}");
        assert_eq!(cluster.listings(), [1; 5], "{cut:?}");
    }
}

#[tokio::test]
async fn a_watch_whose_time_is_up_is_opened_anew() {
    let mut cluster = Cluster::settled().await;
    cluster.until_watched().await;
    for kind in WATCHED {
        cluster.server.store().end_watches(kind);
    }
    cluster.put(POD, pod("a", "new", 91));
    cluster.settle().await;
    assert_eq!(cluster.listings(), [1; 5]);
    assert!(cluster.statistics.pods.watches() >= 2);
}

#[tokio::test]
async fn a_watch_that_fell_silent_is_given_up() {
    let short = Duration::from_millis(100);
    let silent = WatchSettings { silence: short, answer: short, ..settings() };
    let mut cluster = Cluster::watch(server().await, silent);
    cluster.settle().await;
    cluster.server.faults().deliver(Delivery::Held);
    cluster.put(POD, pod("a", "new", 92));
    let before = cluster.server.requests(POD, Verb::List);
    cluster.until("the server is asked anew", |it| it.server.requests(POD, Verb::List) > before + 1).await;
    cluster.server.faults().deliver(Delivery::Whole);
    cluster.settle().await;
    assert_eq!(cluster.listings(), [1; 5]);
    assert_eq!(cluster.vanished(), [""; 0]);
}

#[tokio::test]
async fn a_source_nobody_listens_to_ends() {
    let cluster = Cluster::settled().await;
    let (server, ended) = cluster.close().await;
    assert!(ended.is_ok());
    let watches = || WATCHED.iter().map(|kind| server.store().watches(*kind)).sum::<usize>();
    flock_testkit::wait_until("all watches are closed", || watches() == 0).await.unwrap();
}

#[tokio::test]
async fn a_dropped_source_closes_its_watches() {
    let cluster = Cluster::settled().await;
    let server = cluster.abort().await;
    let watches = || WATCHED.iter().map(|kind| server.store().watches(*kind)).sum::<usize>();
    flock_testkit::wait_until("all watches are closed", || watches() == 0).await.unwrap();
}
