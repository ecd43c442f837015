//! `check`: of what is installed, and before an install.

use std::time::{Duration, SystemTime};

use flock_proto::v1::{NodeStatus, Outcome};
use flock_shared::access::NAMESPACE;
use flock_testkit::compiler::{patiently, quiet, served};
use flock_testkit::{
    CONFIG_MAP, Failure, Grant, Kind, NETWORK_POLICY, NODE, POD, SELF_SUBJECT_ACCESS_REVIEW, Subject, Verb,
};
use serde_json::{Value, json};

use crate::screens::golden;
use crate::site::{Site, end};

const fn kind(group: &'static str, kind: &'static str, plural: &'static str, namespaced: bool) -> Kind {
    Kind { group, version: "v1", kind, plural, namespaced }
}

pub(crate) const DAEMON_SET: Kind = kind("apps", "DaemonSet", "daemonsets", true);
pub(crate) const DEPLOYMENT: Kind = kind("apps", "Deployment", "deployments", true);
pub(crate) const PRIORITY_CLASS: Kind = kind("scheduling.k8s.io", "PriorityClass", "priorityclasses", false);
pub(crate) const RESOURCE_QUOTA: Kind = kind("", "ResourceQuota", "resourcequotas", true);

/// What is read before an install beside what compilers read.
pub(crate) const KINDS: [Kind; 4] = [DAEMON_SET, DEPLOYMENT, PRIORITY_CLASS, RESOURCE_QUOTA];

fn node(name: &str) -> Value {
    let info = json!({
        "operatingSystem": "linux", "architecture": "arm64", "kernelVersion": "6.12.5", "kubeletVersion": "v1.33.0",
        "containerRuntimeVersion": "containerd://2.1.0", "bootID": "", "kubeProxyVersion": "", "machineID": "",
        "osImage": "", "systemUUID": "",
    });
    json!({
        "metadata": { "name": name },
        "spec": { "podCIDRs": ["10.244.1.0/24"] },
        "status": { "nodeInfo": info, "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

fn daemon_set(namespace: &str, name: &str) -> Value {
    let containers = json!([{ "name": name, "image": format!("{name}:1") }]);
    json!({
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "selector": {}, "template": { "spec": { "containers": containers } } },
    })
}

/// A cluster that is fit for an install, with nothing of ours.
async fn fit() -> Site {
    let site = Site::start().await;
    let store = site.api.store();
    for class in ["system-cluster-critical", "system-node-critical"] {
        store.put(PRIORITY_CLASS, json!({ "metadata": { "name": class }, "value": 1 })).unwrap();
    }
    for name in ["n1", "n2"] {
        store.put(NODE, node(name)).unwrap();
    }
    store.put(DAEMON_SET, daemon_set("kube-system", "some-cni")).unwrap();
    let config = json!({ "config.conf": "kind: KubeProxyConfiguration\nmode: nftables\n" });
    let metadata = json!({ "namespace": "kube-system", "name": "kube-proxy" });
    store.put(CONFIG_MAP, json!({ "metadata": metadata, "data": config })).unwrap();
    site.api.grants().allow(Grant::resource(Subject::user("alice"), "*", "*", "*"));
    site
}

fn findings(json: &str) -> Vec<(String, String, String)> {
    let report: Value = serde_json::from_str(json).unwrap();
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let all = report["findings"].as_array().unwrap().iter();
    all.map(|it| (text(it, "name"), text(it, "state"), text(it, "found"))).collect()
}

/// What is not well, with its name and state.
fn wrong(json: &str) -> Vec<(String, String)> {
    let all = findings(json).into_iter().filter(|(_, state, _)| state == "warn" || state == "fail");
    all.map(|(name, state, _)| (name, state)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_fit_is_told_so() {
    let site = fit().await;
    let table = site.prints("check --pre").await;
    for words in [
        "Kubernetes v1.33.0",
        "you may do all 14 things",
        "flock-netpol is not installed",
        "2 of 2 nodes are Linux",
        "kube-proxy is in mode nftables",
        "there is no NetworkPolicy",
        "all well: ",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
    assert_eq!(wrong(&site.prints("check --pre -o json").await), []);
    assert!(site.prints("check --pre -o short").await.starts_with("all well: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_fit_is_told_before_an_install() {
    let site = fit().await;
    let store = site.api.store();
    store.put(DAEMON_SET, daemon_set("kube-system", "calico-node")).unwrap();
    store.put(DAEMON_SET, daemon_set(NAMESPACE, "flock-node-agent")).unwrap();
    let config = json!({ "config.conf": "mode: ipvs\n" });
    let metadata = json!({ "namespace": "kube-system", "name": "kube-proxy" });
    store.put(CONFIG_MAP, json!({ "metadata": metadata, "data": config })).unwrap();
    let policy = json!({ "metadata": { "namespace": "shop", "name": "web" }, "spec": { "podSelector": {} } });
    store.put(NETWORK_POLICY, policy).unwrap();
    let ended = site.run("check --pre -o json").await;
    assert_eq!((ended.code, &*ended.stderr), (Some(1), ""), "{ended:?}");
    let expected = [("kube-proxy", "fail"), ("enforcers", "warn")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(wrong(&ended.stdout), expected);
    let installed = findings(&ended.stdout).into_iter().find(|(name, ..)| name == "installed").unwrap();
    assert_eq!(installed.2, "installed already: compilers none, agents flock-node-agent:1");
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_missing_are_named_and_what_may_not_be_read_is_skipped() {
    let site = fit().await;
    site.api.grants().clear();
    for (verb, group, resource) in [("create", "", "*"), ("create", "apps", "*"), ("create", "policy", "*")] {
        site.api.grants().allow(Grant::resource(Subject::user("alice"), verb, group, resource));
    }
    let forbidden = Failure { code: 403, retry_after: None };
    site.api.faults().fail(DAEMON_SET, Verb::List, forbidden, 1);
    let ended = site.run("check --pre -o json").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(wrong(&ended.stdout), [("rights".to_owned(), "fail".to_owned())]);
    let all = findings(&ended.stdout);
    let words = |wanted: &str| all.iter().find(|(name, ..)| name == wanted).unwrap().2.clone();
    assert!(
        words("rights").starts_with("you may not create roles.rbac.authorization.k8s.io, "),
        "{}",
        words("rights")
    );
    assert!(words("cni").contains("injected by the test"), "the API server's words: {}", words("cni"));
    assert!(site.api.requests(SELF_SUBJECT_ACCESS_REVIEW, Verb::Create) > 14, "also what is granted");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_an_install_an_api_server_must_answer() {
    let site = fit().await;
    assert!(site.refuses("check --pre --compiler http://127.0.0.1:1").await.contains("needs a kubeconfig"));
    let complaint = site.complains("check --pre --context elsewhere").await;
    assert!(complaint.starts_with("cannot ask the API server for its version"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_installed_is_told() {
    let site = fit().await;
    site.compiler.debug.problems.lock().unwrap().clear();
    let table = site.prints("check").await;
    for line in [
        "compilers  ✓ ok       1 of 1 ready",
        "nodes      ✓ ok       1 of 1 agents connected",
        "           ✓ ok       1 of 1 enforce the desired revision",
        "datapath   ✓ ok       nothing passes the rules by on 1 nodes",
        "objects    ✓ ok       no object is misunderstood or contradictory",
        "conflicts  ✓ ok       no node has a trace of another one that enforces NetworkPolicy, and no DaemonSet is of one",
    ] {
        assert!(table.contains(line), "{line}: {table}");
    }
    let judged = NodeStatus { not_judged: vec!["IPVS delivers".to_owned()], ..served("n2") };
    site.compiler.debug.nodes.send_replace(vec![served("n1"), judged, quiet("n3")]);
    site.api.store().put(DAEMON_SET, daemon_set("kube-system", "cilium")).unwrap();
    let ended = site.run("check -o json").await;
    assert_eq!((ended.code, &*ended.stderr), (Some(1), ""), "{ended:?}");
    let expected = [("agents", "fail"), ("enforced", "fail"), ("judged", "fail"), ("enforcers", "warn")];
    assert_eq!(wrong(&ended.stdout), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let ended = site.run("check -o short").await;
    assert!(
        ended.stdout.starts_with("✗ fail nodes/agents: 2 of 3 agents connected; none on n3\n"),
        "{ended:?}"
    );
    // The other nodes are wanted to have none.
    let mut set = daemon_set(NAMESPACE, "flock-node-agent");
    set["status"] = json!({
        "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "numberReady": 2, "numberMisscheduled": 0,
        "observedGeneration": 1000,
    });
    site.api.store().put(DAEMON_SET, set).unwrap();
    let ended = site.run("check -o json").await;
    let expected = [("left-out", "warn"), ("judged", "fail"), ("enforcers", "warn")];
    assert_eq!(wrong(&ended.stdout), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

fn screen_node(name: &str) -> NodeStatus {
    NodeStatus { outside_pod_cidrs: Some(0), ..served(name) }
}

/// Two replicas, whose certificates end in so many days.
fn replicas(site: &Site, days: u64) {
    site.pod("compiler-b", "True", site.compiler.address);
    let end = SystemTime::now() + Duration::from_secs(days * 24 * 60 * 60 + 60);
    site.compiler.debug.itself.lock().unwrap().certificate_expiry = Some(end.into());
    site.compiler.debug.problems.lock().unwrap().clear();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_screen_of_a_cluster_that_is_well() {
    let site = fit().await;
    replicas(&site, 19);
    let nodes = (1..=3).map(|number| screen_node(&format!("worker-{number}"))).collect();
    site.compiler.debug.nodes.send_replace(nodes);
    golden(
        "check-well",
        &[("check", &site.run("check").await), ("check -o short", &site.run("check -o short").await)],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_screen_of_what_is_not_well() {
    let site = fit().await;
    replicas(&site, 5);
    let unjudged =
        |name: &str, why: &str| NodeStatus { not_judged: vec![why.to_owned()], ..screen_node(name) };
    let mut nodes = vec![
        screen_node("worker-1"),
        NodeStatus { outside_pod_cidrs: Some(12), ..screen_node("worker-2") },
        NodeStatus { too_old: true, applied_revision: "1".repeat(32), ..screen_node("worker-3") },
        NodeStatus {
            last_outcome: Outcome::NftFailed.into(),
            last_error: "Error: no".to_owned(),
            ..quiet("worker-4")
        },
        quiet("worker-5"),
        unjudged(
            "worker-6",
            "pods talk, and the rules meet next to nothing of it: something takes it at the pods' links (eBPF programs, a table of family netdev)",
        ),
        unjudged("worker-7", "pods hang on bridge cni0, and net.bridge.bridge-nf-call-iptables is 0"),
    ];
    nodes[3].connected = true;
    for node in &mut nodes[..3] {
        node.enforcers = vec!["kube-router".to_owned()];
    }
    site.compiler.debug.nodes.send_replace(nodes);
    golden(
        "check",
        &[("check", &site.run("check").await), ("check -o short", &site.run("check -o short").await)],
    );
}

/// It is asked again until all is well; what is wrong meanwhile is told beside the answer.
#[tokio::test(flavor = "multi_thread")]
async fn it_waits_until_all_is_well() {
    let site = fit().await;
    site.compiler.debug.nodes.send_replace(vec![quiet("n1")]);
    let asked = || site.compiler.debug.authorizations.lock().unwrap().len();
    let mut command = site.flockctl("check --wait 1h -o short");
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let waiting = tokio::spawn(end(command));
    patiently(async {
        while asked() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    site.compiler.debug.nodes.send_replace(vec![served("n1")]);
    let ended = patiently(waiting).await.unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("all well: "), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_that_answers_is_another_status_than_something_that_is_not_well() {
    let site = fit().await;
    site.api.store().remove(POD, NAMESPACE, "compiler-a").unwrap();
    let ended = site.run("check").await;
    assert_eq!((ended.code, &*ended.stdout), (Some(3), ""), "{ended:?}");
    let ended = site.run("check --wait 100ms").await;
    assert_eq!(ended.code, Some(3), "the time is over: {ended:?}");
}

/// What an install creates is what its manifest has.
#[test]
fn the_rights_of_an_install_are_those_of_its_manifest() {
    let manifest = include_str!("../../../../deploy/kubernetes/install.yaml");
    let kinds: std::collections::BTreeSet<&str> =
        manifest.lines().filter_map(|line| line.strip_prefix("kind: ")).map(str::trim).collect();
    let source = include_str!("../../src/check/gather.rs");
    for kind in kinds {
        let plural = format!("{}s\"", kind.to_lowercase());
        assert!(
            source.contains(&plural),
            "{kind} is created by an install, and nobody is asked whether he may"
        );
    }
}
