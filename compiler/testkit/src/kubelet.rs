//! Kubelets, as far as the API server sees them: a pod that is bound to a node has no address at first, and its status says
//! one some time after its sandbox has got it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::kind::POD;
use crate::message::{Message, Since};
use crate::selector::Selector;
use crate::server::ApiServer;
use crate::store::Store;

/// Reports the pods of one node. It ends when this is dropped.
#[derive(Debug)]
pub struct Kubelet {
    _tasks: JoinSet<()>,
}

impl Kubelet {
    /// One of a node, which reports a pod so long after it was bound; `address`: what its sandbox has been given by then.
    #[must_use]
    pub fn start(
        server: &ApiServer,
        node: &str,
        after: Duration,
        address: impl Fn(&str, &str) -> Option<IpAddr> + Send + 'static,
    ) -> Self {
        let (store, node) = (server.store().shared(), node.to_owned());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let Ok(mut news) = store.watch(POD, None, Selector::default(), Since::Now, false) else { return };
            let mut reporting = JoinSet::new();
            let mut known = BTreeSet::new();
            while let Some(message) = news.recv().await {
                let Message::Event(_, pod) = message else { continue };
                let text = |at: &str| pod.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
                let uid = text("/metadata/uid");
                if text("/spec/nodeName") != node
                    || pod.pointer("/status/podIP").is_some()
                    || !known.insert(uid.clone())
                {
                    continue;
                }
                let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
                let Some(address) = address(&namespace, &name) else { continue };
                let store = store.shared();
                reporting.spawn(async move {
                    tokio::time::sleep(after).await;
                    report(&store, &namespace, &name, &uid, address);
                });
            }
        });
        Self { _tasks: tasks }
    }
}

/// Says what a pod's address is, if it is the same pod still.
fn report(store: &Store, namespace: &str, name: &str, uid: &str, address: IpAddr) {
    // Whoever changes it at the same time is not overwritten.
    while let Some(mut pod) = store.get(POD, namespace, name) {
        if pod["metadata"]["uid"] != uid {
            return;
        }
        pod["status"] = json!({ "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }] });
        match store.update(POD, pod) {
            Err(conflict) if conflict.code == 409 => {}
            _ => return,
        }
    }
}
