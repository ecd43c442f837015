//! A store that goes back, as when a backup of etcd is put in place: a watch from a version of the future is taken, and
//! brings nothing.

use std::time::Duration;

use flock_compiler::source::kubernetes::WatchSettings;
use flock_testkit::POD;

use super::harness::{Cluster, server, settings};
use super::objects::pod;

/// Watches nearly as short as the API has them: those of a second could be taken for refused.
fn brief() -> WatchSettings {
    WatchSettings { watch_timeout: Duration::from_secs(2), silence: Duration::from_secs(8), ..settings() }
}

#[tokio::test]
async fn a_store_that_went_back_is_noticed_and_listed_anew() {
    let mut cluster = Cluster::watch(server().await, brief());
    cluster.settle().await;
    let backup = cluster.server.store().backup();
    for last in 1..50 {
        cluster.put(POD, pod("a", &format!("late{last}"), last));
    }
    cluster.settle().await;
    cluster.server.go_away();
    cluster.server.store().restore(&backup);
    cluster.server.come_back();
    cluster.put(POD, pod("b", "new", 91));
    cluster.settle().await;
    assert!(cluster.told("Pod a/late1").is_none() && cluster.told("Pod b/new").is_some());
    assert_eq!(cluster.listings(), [2; 5]);
}

#[tokio::test]
async fn a_server_that_is_quiet_is_listed_once() {
    let mut cluster = Cluster::watch(server().await, brief());
    cluster.settle().await;
    cluster
        .until("watches have ended", |it| it.statistics.kinds().iter().all(|(_, kind)| kind.watches() > 2))
        .await;
    cluster.settle().await;
    assert_eq!(cluster.listings(), [1; 5]);
    assert!(cluster.statistics.kinds().iter().all(|(_, kind)| kind.failures() == 0));
    assert!(cluster.statistics.pods.age().is_some_and(|age| age < Duration::from_secs(5)), "it is heard of");
}
