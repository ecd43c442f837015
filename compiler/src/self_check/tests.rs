use std::collections::BTreeMap;
use std::time::Duration;

use flock_compiler_core::judge::Index;
use flock_compiler_core::translate::translate_with;
use flock_compiler_core::{Change, Options, Output, World};
use flock_convert::HostInterfaces;
use flock_convert::Workloads;
use flock_convert::manifests::{Manifests, ReadOptions};
use rand::rngs::SmallRng;
use tokio::sync::{mpsc, watch};

use super::sample::Contradiction;
use super::*;
use crate::engine::Engine;
use crate::mirror::Mirrored;
use crate::source::SourceEvent;

pub(crate) const CLUSTER: &str = "
{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: n2}, status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web, labels: {app: web}}
spec: {nodeName: n1}
status: {phase: Running, podIPs: [{ip: 10.1.0.2}, {ip: 'fd00::2'}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: db, labels: {app: db}}
spec: {nodeName: n2, containers: [{name: pg, image: pg, ports: [{name: pg, containerPort: 5432}]}]}
status: {phase: Running, podIPs: [{ip: 10.1.0.4}, {ip: 'fd00::4'}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: db}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}, {ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.128/25]}}]
    ports: [{port: pg}, {port: 8000, endPort: 8010}]
";

pub(crate) fn changes(text: &str) -> Vec<Change> {
    let options = ReadOptions { interfaces: HostInterfaces::None, workloads: Workloads::Ignored };
    let manifests = Manifests::from_bytes([("cluster.yaml", text.as_bytes())], &options);
    assert!(manifests.errors.is_empty(), "{:?}", manifests.errors);
    manifests.listings().into_iter().collect()
}

pub(crate) fn world(text: &str) -> World {
    let mut world = World::default();
    for change in changes(text) {
        world.apply(change);
    }
    world
}

/// Objects, and outputs that may be of others.
fn snapshot(world: World, outputs: BTreeMap<NodeName, Arc<Output>>) -> Snapshot {
    let index = Index::new(&world);
    let mirrored = Mirrored { world, index, outputs, ..Mirrored::default() };
    Snapshot { mirrored: Arc::new(mirrored), options: Options::default() }
}

fn published(text: &str) -> BTreeMap<NodeName, Arc<Output>> {
    translate_with(&world(text), Options::default()).nodes().clone()
}

#[test]
fn what_is_published_of_other_objects_is_found_by_comparing() {
    let right = snapshot(world(CLUSTER), published(CLUSTER));
    assert_eq!(compare::differences(&right), []);
    let other = CLUSTER.replace("endPort: 8010", "endPort: 8011");
    let wrong = snapshot(world(CLUSTER), published(&other));
    let found = compare::differences(&wrong);
    assert_eq!(found.len(), 1, "{found:?}");
    let n2 = NodeName::new("n2").unwrap();
    let said = found[0].to_string();
    for revision in [&right, &wrong].map(|of| of.mirrored.outputs[&n2].revision().to_string()) {
        assert!(said.contains(&revision) && said.contains("node n2"), "{said}");
    }
    let missing = snapshot(world(CLUSTER), BTreeMap::new());
    assert_eq!(compare::differences(&missing).len(), 2);
}

/// What some looks at a node find.
fn looked(snapshot: &Snapshot, node: &str) -> Vec<Contradiction> {
    let mirrored = &snapshot.mirrored;
    let judge = Judge::with_index(&mirrored.world, snapshot.options.unready_pods, &mirrored.index);
    let output = &mirrored.outputs[&NodeName::new(node).unwrap()];
    let mut random = SmallRng::seed_from_u64(7);
    let look = |_| {
        let flows = sample::flows(&judge, output, &mut random);
        assert!(!flows.is_empty());
        sample::contradictions(&judge, output, &flows)
    };
    (0..100).flat_map(look).collect()
}

#[test]
fn a_table_that_says_other_than_the_words_is_found_by_its_flows() {
    assert_eq!(looked(&snapshot(world(CLUSTER), published(CLUSTER)), "n2"), []);
    for (words, table) in [
        ("endPort: 8010", "endPort: 8009"),
        ("matchLabels: {app: web}}}, ", "matchLabels: {app: wep}}}, "),
        ("cidr: 198.51.100.0/24", "cidr: 198.51.0.0/16"),
        ("policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]"),
    ] {
        assert!(CLUSTER.contains(words));
        let found = looked(&snapshot(world(CLUSTER), published(&CLUSTER.replacen(words, table, 1))), "n2");
        if table == "policyTypes: [Ingress]" {
            assert!(found.iter().any(|it| it.to_string().contains("be dropped in egress by the objects")));
        }
        assert!(!found.is_empty(), "{table}");
        assert!(found[0].to_string().ends_with("of node n2"), "{}", found[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_difference_has_everything_published_again() {
    let metrics = Arc::new(Metrics::default());
    let (engine, handle) = Engine::new(Arc::clone(&metrics));
    let (events, incoming) = mpsc::channel(8);
    let running = tokio::spawn(engine.run(incoming));
    events.send(SourceEvent::from(changes(CLUSTER))).await.unwrap();
    let before = handle.snapshot().await.unwrap().mirrored.sequence;
    let check = SelfCheck::new(handle.clone(), Arc::clone(&metrics), Duration::from_secs(300));
    let right = handle.snapshot().await.unwrap();
    check.everything(right.clone()).await.unwrap();
    assert_eq!((metrics.self_checks.get(), metrics.contradictions.get()), (1, 0));
    // Nothing of a cluster that has two nodes.
    let wrong = Mirrored { outputs: BTreeMap::new(), ..Mirrored::clone(&right.mirrored) };
    check.everything(Snapshot { mirrored: Arc::new(wrong), ..right }).await.unwrap();
    assert_eq!((metrics.self_checks.get(), metrics.contradictions.get()), (2, 2));
    let mut passed = handle.passed();
    passed.wait_for(|passed| *passed > before).await.unwrap();
    let after = handle.snapshot().await.unwrap();
    assert_eq!(after.mirrored.outputs, published(CLUSTER));

    let checking = tokio::spawn(check.run());
    while metrics.self_checks.get() < 4 {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(metrics.contradictions.get(), 2, "nothing differs");
    running.abort();
    drop((events, handle));
    checking.abort();
}

#[test]
fn what_comes_one_by_one_in_another_order_comes_to_the_same() {
    let right = snapshot(world(CLUSTER), published(CLUSTER));
    assert_eq!(compare::replayed(&right), []);
    let other = CLUSTER.replace("endPort: 8010", "endPort: 8011");
    let found = compare::replayed(&snapshot(world(CLUSTER), published(&other)));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].to_string().contains("node n2") && found[0].to_string().contains("in another order"));
}

/// An engine that has published the cluster, and what it has published.
async fn started(metrics: &Arc<Metrics>) -> (EngineHandle, Snapshot, [Box<dyn std::any::Any + Send>; 2]) {
    let (engine, handle) = Engine::new(Arc::clone(metrics));
    let (events, incoming) = mpsc::channel(8);
    let running = tokio::spawn(engine.run(incoming));
    events.send(SourceEvent::from(changes(CLUSTER))).await.unwrap();
    let published = handle.snapshot().await.unwrap();
    (handle, published, [Box::new(events), Box::new(running)])
}

/// Far beyond what a slow machine needs.
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_replica_is_ready_once_its_first_translation_is_checked_or_mended() {
    let metrics = Arc::new(Metrics::default());
    let (handle, right, _running) = started(&metrics).await;
    let (checked, mut is_checked) = watch::channel(false);
    start::check(right.clone(), handle.clone(), Arc::clone(&metrics), checked, PATIENCE).await;
    assert!(*is_checked.borrow_and_update());
    assert_eq!((metrics.self_checks.get(), metrics.contradictions.get()), (1, 0));
    assert_eq!(*handle.passed().borrow(), right.mirrored.sequence, "nothing was published again");

    let wrong = Mirrored { outputs: BTreeMap::new(), ..Mirrored::clone(&right.mirrored) };
    let wrong = Snapshot { mirrored: Arc::new(wrong), ..right.clone() };
    let (checked, is_checked) = watch::channel(false);
    start::check(wrong, handle.clone(), Arc::clone(&metrics), checked, PATIENCE).await;
    assert!(*is_checked.borrow());
    assert_eq!((metrics.self_checks.get(), metrics.contradictions.get()), (2, 2));
    assert!(*handle.passed().borrow() > right.mirrored.sequence, "what is right is published first");

    let (checked, _) = watch::channel(true);
    check_at_start(handle, Arc::clone(&metrics), checked).await;
    assert_eq!(metrics.self_checks.get(), 2, "it is switched off");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_cannot_be_mended_keeps_no_replica_unready_for_ever() {
    let metrics = Arc::new(Metrics::default());
    let (_, right, _running) = started(&metrics).await;
    let wrong = Mirrored { outputs: BTreeMap::new(), ..Mirrored::clone(&right.mirrored) };
    // An engine that never gets to it.
    let (stuck, handle) = Engine::new(Arc::clone(&metrics));
    let (checked, is_checked) = watch::channel(false);
    let began = Moment::now();
    let wrong = Snapshot { mirrored: Arc::new(wrong), ..right };
    let longest = Duration::from_secs(20);
    start::check(wrong, handle, Arc::clone(&metrics), checked, longest).await;
    assert!(*is_checked.borrow());
    assert!(began.elapsed() >= longest);
    drop(stuck);
}

#[tokio::test]
async fn a_node_that_changes_all_the_time_does_not_keep_the_check_from_others() {
    let (_engine, handle) = Engine::new(Arc::default());
    let mut check = SelfCheck::new(handle, Arc::default(), Duration::from_secs(300));
    let names = ["a", "b", "c"].map(|name| NodeName::new(name).unwrap());
    check.waiting.extend(names.clone());
    let mut looked_at = Vec::new();
    for _ in 0..4 {
        looked_at.extend(check.next_node());
        check.waiting.insert(names[0].clone());
    }
    let [a, b, c] = names;
    assert_eq!(looked_at, [a.clone(), b, c, a]);
}
