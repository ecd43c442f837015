//! The way to the API server: a kubeconfig file, and what is said when it cannot be used.

use std::path::Path;

use flock_compiler::source::Source;
use flock_compiler::source::kubernetes::{ConnectError, KubernetesSource, connect};
use flock_convert::HostInterfaces;
use tokio::sync::mpsc;

use super::harness::server;

#[tokio::test]
async fn a_kubeconfig_leads_to_its_server() {
    let server = server().await;
    let directory = tempfile::tempdir().unwrap();
    let path = server.write_kubeconfig(directory.path()).unwrap();
    let client = connect(Some(&path)).await.unwrap();
    let (sender, mut events) = mpsc::channel(1);
    let source = tokio::spawn(KubernetesSource::new(client, HostInterfaces::None).run(sender));
    assert!(events.recv().await.is_some());
    drop(events);
    source.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let broken = directory.path().join("broken");
    std::fs::write(&broken, "clusters: [").unwrap();
    let empty = directory.path().join("empty");
    std::fs::write(&empty, "apiVersion: v1\nkind: Config\n").unwrap();
    for path in [&missing, &broken, &empty] {
        let told = error(path).await;
        assert_eq!(told, format!("cannot use the kubeconfig {}", path.display()));
    }
}

async fn error(path: &Path) -> String {
    match connect(Some(path)).await {
        Err(error @ ConnectError::Kubeconfig { .. }) => error.to_string(),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("{} leads somewhere", path.display()),
    }
}
