//! `kubectl flock`: kubectl finds the plugin on its path.

use std::path::Path;

use crate::site::{Ended, Site, bare, end};

const PLUGIN: &str = env!("CARGO_BIN_EXE_kubectl-flock");

/// kubectl with the plugin on its path; `None` where there is no kubectl.
async fn kubectl(site: &Site, arguments: &[&str]) -> Option<Ended> {
    let mut version = bare("kubectl", site.directory.path());
    version.args(["version", "--client"]);
    if version.output().is_err() {
        eprintln!("skipped: no kubectl on this machine");
        return None;
    }
    let mut command = bare("kubectl", site.directory.path());
    let plugins = Path::new(PLUGIN).parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([plugins].into_iter().chain(std::env::split_paths(&path))).unwrap();
    command.env("PATH", path).env("KUBECONFIG", site.kubeconfig()).args(arguments);
    Some(end(command).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_finds_its_plugin() {
    let site = Site::start().await;
    let Some(help) = kubectl(&site, &["flock", "--help"]).await else { return };
    assert_eq!(help.code, Some(0), "{help:?}");
    assert!(help.stdout.contains("Usage: kubectl flock [OPTIONS] <COMMAND>"), "{help:?}");
    let nodes = kubectl(&site, &["flock", "nodes", "--context", "here"]).await.unwrap();
    assert!(nodes.stdout.contains("n1") && nodes.stdout.contains("kubectl flock problems"), "{nodes:?}");
    let listed = kubectl(&site, &["plugin", "list"]).await.unwrap();
    assert!(listed.stdout.contains("kubectl-flock"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_speaks_under_its_own_name() {
    let site = Site::start().await;
    let mut command = bare(PLUGIN, site.directory.path());
    command.env("KUBECONFIG", site.kubeconfig()).args(["nodes", "--context", "nowhere"]);
    let ended = end(command).await;
    assert!(ended.code == Some(3) && ended.stderr.starts_with("kubectl flock: "), "{ended:?}");
}
