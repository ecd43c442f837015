//! Certificates are exchanged while agents are served: no stream ends, no update is dropped or comes twice, and whoever
//! reads the published authorities can always connect.

use std::collections::BTreeSet;
use std::time::Duration;

use flock_compiler::tls::own::Lifetimes;
use flock_shared::access::TLS_SECRET;
use flock_shared::dial::Trust;
use flock_testkit::{POD, SECRET};
use serde_json::json;

use super::cluster::{Cluster, NAME, until};
use super::compiler::{Compiler, Setup};
use super::stream;

/// An authority lives for 9 s and signs after 1 s, a leaf for 3 s: within the test all of them come and go.
fn hasty() -> Setup {
    let seconds = time::Duration::seconds;
    let lifetimes =
        Lifetimes { authority: seconds(9), leaf: seconds(3), overlap: seconds(1), backdate: seconds(0) };
    Setup { lifetimes, every: Duration::from_millis(200), ..Setup::default() }
}

/// The leaf that is kept.
fn leaf(cluster: &Cluster) -> String {
    let secret = cluster.api.store().get(SECRET, "flock-system", TLS_SECRET).unwrap();
    secret["data"]["tls.crt"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn certificates_rotate_under_load() {
    let cluster = Cluster::start().await;
    // Two replicas, so that each finds certificates that the other has renewed.
    let compilers =
        [Compiler::start_with(&cluster, hasty()).await, Compiler::start_with(&cluster, hasty()).await];
    let token = cluster.token("n1");
    let mut streams = Vec::new();
    for compiler in &compilers {
        let mut stream = stream::open(compiler.dial(&cluster).await, Some(&token), "n1").await.unwrap();
        stream.take().await.unwrap();
        streams.push(stream);
    }
    let (mut leaves, mut bundles, mut updates) = (BTreeSet::new(), BTreeSet::new(), 0);
    while leaves.len() < 6 || bundles.len() < 3 {
        cluster.change();
        for stream in &mut streams {
            let before = stream.memory.applied.clone();
            let update = stream.take().await.expect("no stream ends");
            assert_ne!(Some(update.revision), before, "each change comes once");
        }
        updates += 1;
        // Who comes now is served too, by each replica.
        let compiler = &compilers[updates % 2];
        let mut newcomer = stream::open(compiler.dial(&cluster).await, Some(&token), "n1").await.unwrap();
        newcomer.take().await.unwrap();
        leaves.insert(leaf(&cluster));
        bundles.insert(cluster.bundle());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let [first, second] = &streams[..] else { unreachable!() };
    assert_eq!(first.memory.applied, second.memory.applied);
    assert!(compilers.iter().all(|compiler| compiler.denied("handshake_failed") == 0));
    println!("{} leaves, {} bundles, {updates} updates on each stream", leaves.len(), bundles.len());
}

#[tokio::test]
async fn an_authority_that_is_gone_is_not_trusted() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    let other = Cluster::start().await;
    let _made = Compiler::start(&other).await;
    let name = Some(NAME.to_owned());
    let wrong = Trust { ca_file: other.ca_file(), server_name: name.clone() };
    compiler.try_dial(&wrong).await.unwrap_err();
    until("the failure is counted", || compiler.denied("handshake_failed") == 1).await;
    let elsewhere = Trust { ca_file: cluster.ca_file(), server_name: Some("other.svc".to_owned()) };
    compiler.try_dial(&elsewhere).await.unwrap_err();
    compiler.try_dial(&Trust { ca_file: cluster.ca_file(), server_name: name }).await.unwrap();
    drop(cluster.api.store().put(POD, json!({ "metadata": { "namespace": "shop", "name": "x" } })));
}
