//! An API server with a small cluster, and the tokens that its agents would have.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use flock_shared::access::{AGENT_ACCOUNT, AUDIENCE, CA_CONFIG_MAP, CA_KEY, NAMESPACE as OURS};
use flock_shared::token::BearerToken;
use flock_testkit::{AccountToken, ApiServer, CONFIG_MAP, NAMESPACE, NETWORK_POLICY, NODE, POD};
use serde_json::json;
use tempfile::TempDir;

/// What the compiler's certificate is for.
pub(super) const NAME: &str = "flock-compiler.flock-system.svc";

pub(super) struct Cluster {
    pub(super) api: ApiServer,
    directory: TempDir,
    pods: AtomicU32,
}

impl Cluster {
    /// Nodes n1 and n2, each with an agent's pod, and a namespace where everything is isolated.
    pub(super) async fn start() -> Self {
        let api = ApiServer::start().await.unwrap();
        let put = |kind, object| drop(api.store().put(kind, object).unwrap());
        for namespace in [OURS, "shop"] {
            put(NAMESPACE, json!({ "metadata": { "name": namespace } }));
        }
        for node in ["n1", "n2"] {
            put(NODE, json!({ "metadata": { "name": node } }));
            put(
                POD,
                json!({
                    "metadata": { "namespace": OURS, "name": format!("agent-{node}") },
                    "spec": { "nodeName": node, "hostNetwork": true },
                }),
            );
        }
        put(
            NETWORK_POLICY,
            json!({ "metadata": { "namespace": "shop", "name": "deny" }, "spec": { "podSelector": {} } }),
        );
        let cluster = Self { api, directory: TempDir::new().unwrap(), pods: AtomicU32::new(0) };
        cluster.change();
        cluster
    }

    /// Changes what node n1 enforces.
    pub(super) fn change(&self) {
        let number = self.pods.fetch_add(1, Ordering::Relaxed);
        let address = format!("10.0.{}.{}", number / 250, number % 250 + 1);
        let pod = json!({
            "metadata": { "namespace": "shop", "name": format!("web-{number}") },
            "spec": { "nodeName": "n1" },
            "status": { "phase": "Running", "podIPs": [{ "ip": address }] },
        });
        self.api.store().put(POD, pod).unwrap();
    }

    /// The UID of the agent's pod on a node.
    pub(super) fn uid(&self, node: &str) -> String {
        let pod = self.api.store().get(POD, OURS, &format!("agent-{node}")).unwrap();
        pod["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// What a token of the agent on a node would be made from.
    pub(super) fn agent(&self, node: &str) -> AccountToken {
        let account = AccountToken::new(OURS, AGENT_ACCOUNT).audience(AUDIENCE);
        account.node(node).pod(format!("agent-{node}"), self.uid(node))
    }

    pub(super) fn issue(&self, account: &AccountToken) -> BearerToken {
        BearerToken::new(&self.api.identities().issue(account)).unwrap()
    }

    /// The token of the agent on a node.
    pub(super) fn token(&self, node: &str) -> BearerToken {
        self.issue(&self.agent(node))
    }

    /// The certificates that agents mount, as a file.
    pub(super) fn ca_file(&self) -> PathBuf {
        let path = self.directory.path().join("ca.crt");
        std::fs::write(&path, self.bundle()).unwrap();
        path
    }

    /// The certificates that agents mount.
    pub(super) fn bundle(&self) -> String {
        let map = self.api.store().get(CONFIG_MAP, OURS, CA_CONFIG_MAP).expect("it was published");
        map["data"][CA_KEY].as_str().unwrap().to_owned()
    }
}

/// The names that certificates are made for.
pub(super) fn names() -> BTreeSet<String> {
    [NAME.to_owned()].into()
}

/// Far beyond what a slow machine needs.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something holds.
pub(super) async fn until(what: &str, holds: impl Fn() -> bool) {
    tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{what}"));
}
