//! Two replicas: each node is shown as the one says that serves it, whichever is asked first.

use std::net::{Ipv4Addr, SocketAddr};

use flock_proto::v1::{ListNodesResponse, NodeStatus, Outcome};
use flock_shared::access::CA_KEY;
use flock_testkit::compiler::{FakeCompiler, quiet, served};
use prost_types::Timestamp;
use serde_json::{Value, json};

use crate::forwarding::Watch;
use crate::site::Site;

/// The first replica serves n1, the second one n2.
async fn two() -> (Site, FakeCompiler) {
    let (site, second) = (Site::start().await, FakeCompiler::start_tls().await);
    site.publish(&json!({ CA_KEY: format!("{}{}", site.compiler.ca, second.ca) }));
    site.pod("compiler-b", "True", second.address);
    site.compiler.debug.nodes.send_replace(vec![served("n1"), quiet("n2")]);
    second.debug.nodes.send_replace(vec![quiet("n1"), served("n2")]);
    (site, second)
}

/// Name, state and replica of each node.
fn states(json: &str) -> Vec<(String, String, Value)> {
    let rows: Vec<Value> = serde_json::from_str(json).unwrap();
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    rows.iter().map(|row| (text(row, "node"), text(row, "state"), row["replica"].clone())).collect()
}

fn is(node: &str, state: &str, replica: Value) -> (String, String, Value) {
    (node.to_owned(), state.to_owned(), replica)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_is_asked_and_the_one_that_serves_a_node_is_believed() {
    let (site, second) = two().await;
    let table = site.prints("nodes").await;
    assert!(table.contains("2 of 2 nodes enforce the desired revision; asked 2 of 2 replicas"), "{table}");
    let json = site.prints("nodes -o json").await;
    let both = [is("n1", "current", "compiler-a".into()), is("n2", "current", "compiler-b".into())];
    assert_eq!(states(&json), both);

    let since = Some(Timestamp { seconds: 1_700_000_000, nanos: 0 });
    let failing = NodeStatus {
        desired_revision: "1".repeat(32),
        behind_since: since,
        last_outcome: Outcome::NftFailed.into(),
        last_error: "no".to_owned(),
        ..served("n2")
    };
    second.debug.nodes.send_replace(vec![quiet("n1"), failing]);
    let ended = site.run("nodes --behind").await;
    assert_eq!((ended.code, &*ended.stderr), (Some(1), ""), "{ended:?}");
    let rows: Vec<&str> = ended.stdout.lines().collect();
    assert!(rows[1].starts_with("n2") && rows[1].contains("failing"), "{ended:?}");
    assert!(rows[1].contains("2023-11-14T22:13:20Z") && rows[0].contains("BEHIND SINCE"), "{ended:?}");
    assert_eq!(rows[2], "", "no other node");
    assert!(rows[3].starts_with("1 of 2 nodes enforce"), "of all that were asked about: {ended:?}");
    assert_eq!(site.run("nodes").await.code, Some(1));
    assert_eq!(site.run("nodes n1").await.code, Some(0), "only what is asked about counts");
    assert!(site.refuses("nodes n1 n3").await.starts_with("no node \"n3\""));
    let json = site.run("nodes n2 -o json").await;
    let rows: Vec<Value> = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &rows[0]["behind_since"]), (Some(1), &"2023-11-14T22:13:20Z".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replica_serves_that_was_not_asked_is_not_known() {
    let (site, _second) = two().await;
    site.pod("compiler-b", "True", SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let ended = site.run("nodes -o json").await;
    assert_eq!(ended.code, Some(1), "that all are current is not known: {ended:?}");
    assert_eq!(
        states(&ended.stdout),
        [is("n1", "current", "compiler-a".into()), is("n2", "not known", Value::Null)]
    );
    let rows: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    for field in ["connected", "current", "applied_revision", "agent_version", "drifts", "not_judged"] {
        assert_eq!(rows[1][field], Value::Null, "{field}");
    }
    assert!(ended.stderr.contains("pod flock-system/compiler-b was not asked: "), "{ended:?}");
    assert!(
        ended.stderr.contains("asked 1 of 2 replicas; nodes that others serve are not known"),
        "{ended:?}"
    );
    assert!(site.run("nodes").await.stdout.contains("; 1 is not known; asked 1 of 2 replicas"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_url_of_several_says_so_and_several_urls_are_all_asked() {
    let (site, second) = two().await;
    let ca = site.directory.path().join("ca.crt");
    std::fs::write(&ca, format!("{}{}", site.compiler.ca, second.ca)).unwrap();
    let of = |urls: &str| {
        format!(
            "nodes --compiler {urls} --ca-file {} --server-name {}",
            ca.display(),
            flock_testkit::compiler::NAME
        )
    };
    let [first, other] = [site.compiler.address, second.address].map(|address| format!("https://{address}"));
    let says = |compiler: &FakeCompiler, replicas: u32, instance: &str| {
        let instance = instance.to_owned();
        *compiler.debug.itself.lock().unwrap() =
            ListNodesResponse { replicas, instance, ..ListNodesResponse::default() };
    };
    let ended = site.run(&of(&first)).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("asked 1 replica, which cannot tell how many there are"), "{ended:?}");
    assert!(ended.stdout.contains("not known"), "{ended:?}");
    says(&site.compiler, 2, "a");
    let ended = site.run(&of(&first)).await;
    assert!(ended.stderr.contains("asked 1 of 2 replicas"), "{ended:?}");
    says(&site.compiler, 1, "a");
    let ended = site.run(&of(&first)).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(1), ""), "there is no other: {ended:?}");
    assert!(ended.stdout.contains("; 1 has no agent"), "counted apart: {ended:?}");

    says(&site.compiler, 2, "a");
    says(&second, 2, "b");
    assert!(site.prints(&of(&format!("{first},{other}"))).await.contains("asked 2 of 2 replicas"));
    says(&second, 2, "a");
    let ended = site.run(&of(&format!("{first},{other}"))).await;
    assert!(ended.stderr.contains("asked 1 of 2 replicas"), "two ways to one replica: {ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_at_different_objects_are_told() {
    let (site, second) = two().await;
    let at = |compiler: &FakeCompiler, seen: &str, through: &str| {
        let (seen, through) = (seen.to_owned(), through.to_owned());
        *compiler.debug.itself.lock().unwrap() =
            ListNodesResponse { seen, through, ..ListNodesResponse::default() };
    };
    at(&site.compiler, "Pod=43", "Pod=44");
    at(&second, "Pod=40", "Pod=41");
    let ended = site.run("nodes").await;
    let told =
        "flockctl: compiler-b is at older objects: it has not read Pod 43 of compiler-a, it is at 41\n";
    assert_eq!((ended.code, &*ended.stderr), (Some(0), told));
    at(&second, "Pod=40", "Pod=43");
    site.prints("nodes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_asked_about_where_it_is_served_and_problems_everywhere() {
    let (site, second) = two().await;
    for node in ["n1", "n2"] {
        assert_eq!(site.prints(&format!("script {node}")).await, "add table inet flock_netpol\n", "{node}");
    }
    assert_eq!(site.prints("script n3").await, "of another one\n", "nobody serves it");
    second.debug.problems.lock().unwrap().push("Node n2".to_owned());
    let problems = site.prints("problems").await;
    assert_eq!(problems.matches("NetworkPolicy shop/web").count(), 1, "{problems}");
    assert!(problems.contains("Node n2"), "{problems}");
    assert!(site.prints("nodes").await.contains("2 problem(s)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_moves_with_the_agent() {
    let (site, second) = two().await;
    let watch = Watch::start(&site, "watch n1 -o json");
    let next = || {
        let line = watch.line();
        let row: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        (row["state"].as_str().unwrap().to_owned(), row["replica"].clone())
    };
    assert_eq!(next(), ("current".to_owned(), "compiler-a".into()));
    let left = NodeStatus { connected: false, ..served("n1") };
    site.compiler.debug.nodes.send_replace(vec![left]);
    assert_eq!(next(), ("offline".to_owned(), Value::Null));
    second.debug.nodes.send_replace(vec![served("n1")]);
    assert_eq!(next(), ("current".to_owned(), "compiler-b".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_watched_grows_by_what_changes() {
    let (site, second) = two().await;
    let watch = Watch::start(&site, "nodes --watch --behind");
    assert!(watch.line().starts_with("NODE"));
    let behind = |node| NodeStatus { desired_revision: "1".repeat(32), ..served(node) };
    second.debug.nodes.send_replace(vec![quiet("n1"), behind("n2")]);
    let line = watch.line();
    assert!(line.starts_with("n2") && line.contains("behind"), "{line}");
    second.debug.nodes.send_replace(vec![quiet("n1"), served("n2")]);
    let line = watch.line();
    assert!(line.starts_with("n2") && line.contains("current"), "it is not behind any more: {line}");
    site.compiler.debug.nodes.send_replace(vec![behind("n1")]);
    let line = watch.line();
    assert!(line.starts_with("n1") && line.contains("behind"), "{line}");
    site.compiler.debug.nodes.send_replace(Vec::new());
    second.debug.nodes.send_replace(vec![served("n2")]);
    let line = watch.line();
    assert!(line.starts_with("n1") && line.contains("gone"), "{line}");
}
