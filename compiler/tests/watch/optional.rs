//! A kind that the cluster may do without.

use flock_testkit::{Failure, NODE_PODS, Verb};

use super::harness::{Cluster, server, settings};
use super::objects::node_pods;

#[tokio::test]
async fn a_cluster_without_the_kind_works_and_says_so_once_and_one_that_gets_it_is_noticed() {
    for code in [404, 403] {
        let server = server().await;
        server.faults().fail(NODE_PODS, Verb::List, Failure { code, retry_after: None }, usize::MAX);
        server.store().put(NODE_PODS, node_pods("n1", 1)).unwrap();
        let mut cluster = Cluster::watch(server, settings());
        cluster.until("all kinds are complete", |it| it.listed().len() == 5).await;
        cluster.until("it is asked for again", |it| it.server.requests(NODE_PODS, Verb::List) > 3).await;
        assert_eq!(cluster.reported(), ["kubernetes NodePods"], "{code}");
        assert!(cluster.told("NodePods n1").is_none());
        cluster.server.faults().mend();
        cluster.settle().await;
        assert!(cluster.told("NodePods n1").is_some());
        assert_eq!(cluster.reported(), [""; 0], "{code}");
    }
}

/// What was read stays in force while the right is missing; without the kind there are no objects of it.
#[tokio::test]
async fn a_right_that_is_taken_away_takes_nothing_back() {
    for (code, stays) in [(403, true), (404, false)] {
        let server = server().await;
        server.store().put(NODE_PODS, node_pods("n1", 1)).unwrap();
        let mut cluster = Cluster::watch(server, settings());
        cluster.settle().await;
        cluster.server.faults().fail(NODE_PODS, Verb::List, Failure { code, retry_after: None }, usize::MAX);
        cluster.move_version();
        cluster.server.store().compact();
        cluster.server.store().end_watches(NODE_PODS);
        cluster.until("it is reported", |it| !it.reported().is_empty()).await;
        assert_eq!(cluster.told("NodePods n1").is_some(), stays, "{code}");
        cluster.server.faults().mend();
        cluster.settle().await;
        assert!(cluster.told("NodePods n1").is_some());
    }
}
