//! The compiler's own certificates, among replicas that keep the same ones.

use std::sync::Arc;
use std::time::Duration;

use flock_compiler::metrics::Metrics;
use flock_compiler::source::kubernetes::client;
use flock_compiler::tls::Certificate;
use flock_compiler::tls::own::{CertificateManager, CertificateManagerError, Lifetimes};
use flock_shared::access::{CA_CONFIG_MAP, NAMESPACE, TLS_SECRET};
use flock_testkit::{CONFIG_MAP, Failure, SECRET, Verb};
use serde_json::json;

use super::cluster::{Cluster, names};
use super::compiler::location;

fn manager(cluster: &Cluster) -> (CertificateManager, Certificate) {
    let (certificate, client) = (Certificate::default(), client(cluster.api.config()).unwrap());
    let manager =
        CertificateManager::new(&client, location(), names(), certificate.clone(), Arc::<Metrics>::default());
    (manager, certificate)
}

fn secret(cluster: &Cluster) -> serde_json::Value {
    cluster.api.store().get(SECRET, NAMESPACE, TLS_SECRET).expect("there is a Secret")
}

fn writes(cluster: &Cluster) -> u64 {
    let requests = |kind, verb| cluster.api.requests(kind, verb);
    requests(SECRET, Verb::Create)
        + requests(SECRET, Verb::Update)
        + requests(CONFIG_MAP, Verb::Create)
        + requests(CONFIG_MAP, Verb::Update)
}

#[tokio::test]
async fn replicas_that_begin_at_once_agree() {
    let cluster = Cluster::start().await;
    let mut replicas: Vec<_> = (0..5).map(|_| manager(&cluster)).collect();
    let looks = replicas.iter_mut().map(|(manager, _)| manager.look());
    for looked in futures::future::join_all(looks).await {
        looked.unwrap();
    }
    assert!(replicas.iter().all(|(_, certificate)| certificate.is_there()));
    let (kept, bundle, written) = (secret(&cluster), cluster.bundle(), writes(&cluster));
    assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 1, "one authority came of it");
    for (manager, _) in &mut replicas {
        manager.look().await.unwrap();
    }
    assert_eq!((secret(&cluster), cluster.bundle(), writes(&cluster)), (kept, bundle, written));
}

#[tokio::test]
async fn objects_that_are_there_and_empty_are_filled() {
    // What a manifest brings, so that nobody needs the right to create any Secret.
    let cluster = Cluster::start().await;
    let metadata =
        |name: &str| json!({ "namespace": NAMESPACE, "name": name, "labels": { "of": "manifest" } });
    let store = cluster.api.store();
    store.put(SECRET, json!({ "metadata": metadata(TLS_SECRET), "type": "Opaque" })).unwrap();
    store.put(CONFIG_MAP, json!({ "metadata": metadata(CA_CONFIG_MAP) })).unwrap();
    let (mut manager, certificate) = manager(&cluster);
    manager.look().await.unwrap();
    assert!(certificate.is_there() && cluster.bundle().contains("BEGIN CERTIFICATE"));
    assert_eq!(secret(&cluster)["metadata"]["labels"]["of"], "manifest");
    assert_eq!(cluster.api.requests(SECRET, Verb::Create), 0);
}

#[tokio::test]
async fn what_somebody_has_done_to_the_config_map_is_put_right() {
    let cluster = Cluster::start().await;
    let (mut manager, _) = manager(&cluster);
    manager.look().await.unwrap();
    let bundle = cluster.bundle();
    let object =
        json!({ "metadata": { "namespace": NAMESPACE, "name": CA_CONFIG_MAP }, "data": { "ca.crt": "x" } });
    cluster.api.store().put(CONFIG_MAP, object).unwrap();
    manager.look().await.unwrap();
    assert_eq!(cluster.bundle(), bundle);
    cluster.api.store().remove(CONFIG_MAP, NAMESPACE, CA_CONFIG_MAP).unwrap();
    manager.look().await.unwrap();
    assert_eq!(cluster.bundle(), bundle);
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_reported_and_left_alone() {
    let cluster = Cluster::start().await;
    let object = json!({
        "metadata": { "namespace": NAMESPACE, "name": TLS_SECRET },
        "stringData": { "tls.crt": "a certificate", "tls.key": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n" },
    });
    cluster.api.store().put(SECRET, object).unwrap();
    let before = secret(&cluster);
    let (mut manager, certificate) = manager(&cluster);
    let error = manager.look().await.unwrap_err();
    assert!(matches!(error, CertificateManagerError::Foreign { .. }), "{error}");
    assert!(!format!("{error:?}").contains("c2VjcmV0"), "{error:?}");
    assert!(!certificate.is_there());
    assert_eq!((secret(&cluster), writes(&cluster)), (before, 0));
}

#[tokio::test]
async fn a_server_that_fails_costs_nothing_that_is_there() {
    let cluster = Cluster::start().await;
    let (mut replica, certificate) = manager(&cluster);
    let failure = || Failure { code: 500, retry_after: None };
    cluster.api.faults().fail(SECRET, Verb::Get, failure(), 1);
    let error = replica.look().await.unwrap_err();
    assert_eq!(error.to_string(), format!("Secret {NAMESPACE}/{TLS_SECRET}"));
    assert!(!certificate.is_there());
    replica.look().await.unwrap();
    cluster.api.faults().fail(CONFIG_MAP, Verb::Get, failure(), 1);
    replica.look().await.unwrap_err();
    assert!(certificate.is_there());
}

#[tokio::test]
async fn a_certificate_that_is_never_old_enough_is_no_reason_to_write_for_ever() {
    let cluster = Cluster::start().await;
    let (manager, _) = manager(&cluster);
    // Due at once, each time: what a clock that is wrong comes to.
    let lifetimes = Lifetimes { leaf: time::Duration::ZERO, ..Lifetimes::default() };
    let mut manager = manager.with_lifetimes(lifetimes, Duration::from_secs(60));
    for _ in 0..3 {
        manager.look().await.unwrap();
    }
    assert!(writes(&cluster) <= 6, "one write of each object for each look");
    assert_eq!(cluster.bundle().matches("BEGIN CERTIFICATE").count(), 1);
}
