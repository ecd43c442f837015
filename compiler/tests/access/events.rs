//! Events on policies, as an API server gets them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flock_compiler::fleet::Fleet;
use flock_compiler::metrics::Metrics;
use flock_compiler::policy_events::{Pace, PolicyEvents};
use flock_compiler::replicas::Replicas;
use flock_compiler::source::kubernetes::client;
use flock_shared::access::{CA_CONFIG_MAP, SERVICE, TLS_SECRET};
use flock_testkit::agent::FakeAgent;
use flock_testkit::{
    CONFIG_MAP, EVENT, Failure, NETWORK_POLICY, POD, SECRET, Verb, manifest, rights, rights_of,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::cluster::{Cluster, until};
use super::compiler::Compiler;
use super::stream;

/// What installs the option.
const COMPONENT: &str = include_str!("../../../deploy/kubernetes/components/events/rbac.yaml");

/// Dropping it ends it.
struct Telling(JoinHandle<()>, Arc<Metrics>);

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Telling {
    /// Tells of what a compiler publishes, with a fleet and metrics of its own or the compiler's.
    fn start(cluster: &Cluster, compiler: &Compiler, fleet: Arc<Fleet>, replicas: Replicas) -> Self {
        let pace = Pace {
            period: Duration::from_millis(20),
            settled: Duration::ZERO,
            refused: Duration::from_millis(200),
        };
        let metrics = Arc::new(Metrics::default());
        let client = client(cluster.api.config()).unwrap();
        let engine = compiler.context.engine.clone();
        let events = PolicyEvents::new(client, engine, (fleet, replicas), Arc::clone(&metrics), pace);
        Self(tokio::spawn(events.run()), metrics)
    }

    fn of(cluster: &Cluster, compiler: &Compiler) -> Self {
        Self::start(cluster, compiler, Arc::clone(&compiler.context.fleet), Replicas::Alone)
    }

    /// How many Events of a reason had an outcome.
    fn count(&self, reason: &str, outcome: &str) -> u64 {
        let series =
            format!("flock_compiler_policy_events_total{{reason=\"{reason}\",outcome=\"{outcome}\"}} ");
        let text = self.1.text();
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
    }
}

/// An agent that applies whatever it gets.
async fn agent(compiler: &Compiler, cluster: &Cluster, node: &str) -> JoinHandle<()> {
    let token = cluster.token(node);
    let mut agent: FakeAgent = stream::open(compiler.dial(cluster).await, Some(&token), node).await.unwrap();
    agent.apply().await;
    tokio::spawn(async move {
        while let Ok(update) = agent.take().await {
            agent.answer(&update.revision, flock_proto::Outcome::Applied).await;
        }
    })
}

fn put(cluster: &Cluster, namespace: &str, name: &str, spec: &Value) {
    let metadata = json!({ "namespace": namespace, "name": name });
    cluster.api.store().put(NETWORK_POLICY, json!({ "metadata": metadata, "spec": spec })).unwrap();
}

/// Not understood, and about every pod.
fn bad() -> Value {
    json!({ "podSelector": {}, "policyTypes": ["Egress"], "egress": [{ "toFQDNs": ["example.com"] }] })
}

/// Of each Event the policy, the reason, the type and the note, in order.
fn told(cluster: &Cluster) -> Vec<[String; 4]> {
    let events = cluster.api.store().all(EVENT);
    let of = |event: &Value| {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        ["/regarding/name", "/reason", "/type", "/note"].map(text)
    };
    let mut told: Vec<_> = events.iter().map(of).collect();
    told.sort();
    told
}

fn has(cluster: &Cluster, policy: &str, reason: &str) -> bool {
    told(cluster).iter().any(|it| it[0] == policy && it[1] == reason)
}

#[tokio::test]
async fn each_thing_is_told_once_by_the_one_right_that_the_option_has() {
    let cluster = Cluster::start().await;
    // As the manifest brings them, so that the compiler never needs to make one.
    for (kind, name) in [(SECRET, TLS_SECRET), (CONFIG_MAP, CA_CONFIG_MAP)] {
        let is_it = |it: &Value| it["kind"] == kind.kind && it["metadata"]["name"] == name;
        cluster.api.store().put(kind, manifest().into_iter().find(is_it).unwrap()).unwrap();
    }
    let compiler = Compiler::start(&cluster).await;
    let applying = agent(&compiler, &cluster, "n1").await;
    let telling = Telling::of(&cluster, &compiler);
    put(&cluster, "shop", "bad", &bad());
    put(&cluster, "shop", "idle", &json!({ "podSelector": { "matchLabels": { "app": "wep" } } }));
    put(&cluster, "nobody", "early", &json!({ "podSelector": {} }));
    put(&cluster, "shop", "open", &json!({ "podSelector": {}, "ingress": [{}] }));
    until("all are told", || told(&cluster).len() >= 4).await;
    let expected = [
        [
            "bad",
            "NotUnderstood",
            "Warning",
            "spec.egress[0].toFQDNs: is not a known field; the pods that it selects are isolated, and it allows nothing",
        ],
        ["early", "SelectsNothing", "Normal", "selects no pod: there are none in its namespace"],
        ["idle", "SelectsNothing", "Warning", "selects no pod: none of its namespace has app=wep"],
        ["open", "Enforced", "Normal", "in force on 1 of 1 node"],
    ];
    let found = told(&cluster);
    assert_eq!(found[1..], expected[1..].iter().map(|it| it.map(str::to_owned)).collect::<Vec<_>>()[..]);
    // The fault in its own words.
    assert_eq!(found[0][..3], expected[0][..3].iter().map(|&it| it.to_owned()).collect::<Vec<_>>()[..]);
    assert!(
        found[0][3].starts_with("spec.egress[0]") && found[0][3].ends_with("it allows nothing"),
        "{found:?}"
    );

    // Pods come, policies change, and only what is another version is told of again.
    (0..5).for_each(|_| cluster.change());
    put(&cluster, "shop", "open", &json!({ "podSelector": {}, "egress": [{}], "policyTypes": ["Egress"] }));
    until("the new version is told of", || told(&cluster).len() >= 5).await;
    put(&cluster, "shop", "last", &json!({ "podSelector": {} }));
    until("the last is told of", || has(&cluster, "last", "Enforced")).await;
    assert_eq!(told(&cluster).len(), 6);
    assert_eq!(cluster.api.requests(EVENT, Verb::Create), 6);
    assert!(!has(&cluster, "deny", "Enforced"), "it was in force before this compiler began");

    let event = cluster.api.store().all(EVENT).remove(0);
    assert_eq!(event["regarding"]["kind"], "NetworkPolicy");
    assert!(
        event["regarding"]["uid"].is_string() && event["regarding"]["resourceVersion"].is_string(),
        "{event}"
    );
    let more: Vec<_> = cluster.api.asked().difference(&rights(SERVICE)).cloned().collect();
    assert_eq!(more, rights_of(COMPONENT, "flock-compiler-events").into_iter().collect::<Vec<_>>());
    drop(telling);
    applying.abort();
}

#[tokio::test]
async fn a_policy_is_in_force_once_the_last_of_its_nodes_has_said_so() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    let _telling = Telling::of(&cluster, &compiler);
    let pod = json!({
        "metadata": { "namespace": "shop", "name": "elsewhere" }, "spec": { "nodeName": "n2" },
        "status": { "phase": "Running", "podIPs": [{ "ip": "10.1.0.1" }] },
    });
    cluster.api.store().put(POD, pod).unwrap();
    put(&cluster, "shop", "web", &json!({ "podSelector": {} }));
    let first = agent(&compiler, &cluster, "n1").await;
    // What is told later of another one is told after it was looked at this one, too.
    put(&cluster, "shop", "bad", &bad());
    until("the other is told of", || has(&cluster, "bad", "NotUnderstood")).await;
    assert!(!has(&cluster, "web", "Enforced"), "{:?}", told(&cluster));
    let second = agent(&compiler, &cluster, "n2").await;
    until("both have it", || has(&cluster, "web", "Enforced")).await;
    let web = told(&cluster).into_iter().find(|it| it[0] == "web").unwrap();
    assert_eq!(web[3], "in force on 2 of 2 nodes");
    [first, second].iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn replicas_write_one_event_and_each_tells_of_its_own_nodes() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    let pods = || Replicas::Pods("flock-system".parse().unwrap());
    let one = Telling::start(&cluster, &compiler, Arc::clone(&compiler.context.fleet), pods());
    let other = Telling::start(&cluster, &compiler, Arc::default(), pods());
    let pod = json!({
        "metadata": { "namespace": "shop", "name": "elsewhere" }, "spec": { "nodeName": "n2" },
        "status": { "phase": "Running", "podIPs": [{ "ip": "10.1.0.1" }] },
    });
    cluster.api.store().put(POD, pod).unwrap();
    let applying = agent(&compiler, &cluster, "n1").await;
    put(&cluster, "shop", "bad", &bad());
    put(&cluster, "shop", "web", &json!({ "podSelector": {} }));
    let outcomes =
        |outcome: &str| [&one, &other].map(|it| it.count("NotUnderstood", outcome)).iter().sum::<u64>();
    until("one has written, and the other found it", || (outcomes("written"), outcomes("there")) == (1, 1))
        .await;
    until("its own nodes have it", || has(&cluster, "web", "Enforced")).await;
    let notes: BTreeMap<String, String> =
        told(&cluster).into_iter().map(|[policy, _, _, note]| (policy, note)).collect();
    assert_eq!(notes.len(), 2);
    assert!(
        notes["web"].starts_with("in force on 1 of 2 nodes: on all whose agents this compiler serves"),
        "{notes:?}"
    );
    applying.abort();
}

#[tokio::test]
async fn a_flood_is_left_out_and_hides_nobody() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    (0..300).for_each(|number| put(&cluster, "hostile", &format!("p{number}"), &bad()));
    put(&cluster, "shop", "bad", &bad());
    let telling = Telling::of(&cluster, &compiler);
    let count = |outcome| telling.count("NotUnderstood", outcome);
    until("all are looked at", || count("written") + count("left_out") == 301).await;
    assert!(has(&cluster, "bad", "NotUnderstood"));
    // 25 at once, and a few for a machine that is slow.
    assert!((26..60).contains(&count("written")), "{}", count("written"));
    assert_eq!(cluster.api.requests(EVENT, Verb::Create), count("written"));
}

#[tokio::test]
async fn a_server_that_refuses_is_asked_again_later_and_costs_nothing_else() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    cluster.api.faults().fail(EVENT, Verb::Create, Failure { code: 403, retry_after: None }, 2);
    let telling = Telling::of(&cluster, &compiler);
    put(&cluster, "shop", "bad", &bad());
    (0..20).for_each(|number| put(&cluster, "shop", &format!("bad-{number}"), &bad()));
    until("it is refused", || telling.count("NotUnderstood", "failed") == 2).await;
    // Whoever waits for something else does not notice.
    cluster.change();
    let applying = agent(&compiler, &cluster, "n1").await;
    until("all is told", || told(&cluster).len() == 21).await;
    assert_eq!(cluster.api.requests(EVENT, Verb::Create), 23);
    applying.abort();
}
