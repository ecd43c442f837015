//! The compiler's rights, as the manifest gives them: each is used, and nothing else is.

use std::sync::Arc;

use flock_compiler::attach::{AttachmentWriter, Entry, Given, Store};
use flock_compiler::engine::Engine;
use flock_compiler::fleet::Fleet;
use flock_compiler::metrics::Metrics;
use flock_compiler::source::kubernetes::client;
use flock_compiler_core::object::PodUid;
use flock_proto::v1::ListNodesRequest;
use flock_proto::v1::debug_service_client::DebugServiceClient;
use flock_shared::access::{AUDIENCE, CA_CONFIG_MAP, NAMESPACE, SERVICE, TLS_SECRET};
use flock_shared::cni::SandboxId;
use flock_shared::{NodeName, PodKey};
use flock_testkit::{AccountToken, CONFIG_MAP, SECRET, manifest, rights};
use serde_json::{Value, json};
use tonic::Request;

use super::cluster::{Cluster, until};
use super::compiler::Compiler;
use super::stream;

fn entry(number: u8) -> Entry {
    Entry {
        id: SandboxId::new(&format!("s{number}")).unwrap(),
        pod: PodKey::new("shop", &format!("p{number}")).unwrap(),
        uid: PodUid::new(&format!("u{number}")).unwrap(),
        given: Some(Given { addresses: vec![[10, 0, 1, number].into()], interface: None }),
    }
}

#[tokio::test]
async fn each_right_of_the_manifest_is_used_and_no_other() {
    let cluster = Cluster::start().await;
    // As the manifest brings them, so that the compiler never needs to make one.
    for (kind, name) in [(SECRET, TLS_SECRET), (CONFIG_MAP, CA_CONFIG_MAP)] {
        let is_it = |it: &Value| it["kind"] == kind.kind && it["metadata"]["name"] == name;
        cluster.api.store().put(kind, manifest().into_iter().find(is_it).unwrap()).unwrap();
    }
    let compiler = Compiler::start(&cluster).await;
    let token = cluster.token("n1");
    stream::open(compiler.dial(&cluster).await, Some(&token), "n1").await.unwrap().take().await.unwrap();
    let viewer = cluster.issue(&AccountToken::new(NAMESPACE, "viewer").audience(AUDIENCE));
    let mut request = Request::new(ListNodesRequest::default());
    request.metadata_mut().insert("authorization", viewer.authorization());
    DebugServiceClient::new(compiler.dial(&cluster).await).list_nodes(request).await.unwrap_err();

    let (_, engine) = Engine::new(Arc::new(Metrics::default()));
    let store = Store::cluster(client(cluster.api.config()).unwrap());
    let writer = AttachmentWriter::new(store, engine, Arc::new(Fleet::default()));
    let node = NodeName::new("n1").unwrap();
    writer.attach(&node, entry(1)).await.unwrap();
    writer.attach(&node, entry(2)).await.unwrap();

    let granted = rights(SERVICE);
    assert!(
        granted.contains("update secrets") && granted.contains("create nodepods.flock.netpol"),
        "{granted:?}"
    );
    // Watches follow lists, also of kinds that nothing here waits for.
    until("all rights are used", || granted.is_subset(&cluster.api.asked())).await;
    assert_eq!(cluster.api.asked(), granted);
    // Of these two it may have no others.
    for rule in
        manifest().iter().filter(|it| it["kind"] == "Role").flat_map(|it| it["rules"].as_array().unwrap())
    {
        if rule["resources"] == json!(["secrets"]) {
            assert_eq!(rule["resourceNames"], json!([TLS_SECRET]));
        }
        if rule["resources"] == json!(["configmaps"]) {
            assert_eq!(rule["resourceNames"], json!([CA_CONFIG_MAP]));
        }
    }
}
