//! A compiler that follows a Kubernetes API server: list, change, the server gone and back, also as another one.

use std::path::Path;

use flock_lab::{Probe, Protocol, Verdict};
use flock_testkit::{Kind, NAMESPACE, NETWORK_POLICY, NODE, POD};
use serde_json::{Value, json};

use crate::api::Api;
use crate::compiler::Compiler;
use crate::flockctl::Flockctl;
use crate::ground::{Ground, NODES};
use crate::manifests::{render, revision_of};
use crate::shop::{allow, pod};
use crate::site::settle;
use crate::support::wait::wait_until;

/// The kinds that a compiler watches.
const WATCHED: [Kind; 4] = [NODE, NAMESPACE, POD, NETWORK_POLICY];

impl Api {
    /// What a node should reach, by way of a manifest of all that the server has.
    pub(crate) fn revision(&self, scratch: &Path, node: &str) -> String {
        let typed = |kind: Kind, mut object: Value| {
            object["kind"] = kind.kind.into();
            object["apiVersion"] = kind.api_version().into();
            object
        };
        let items: Vec<Value> = WATCHED
            .iter()
            .flat_map(|kind| {
                self.server.store().all(*kind).into_iter().map(move |object| typed(*kind, object))
            })
            .collect();
        let list = json!({ "kind": "List", "apiVersion": "v1", "items": items });
        std::fs::write(scratch, list.to_string()).unwrap();
        let output = render(&["--manifests", scratch.to_str().unwrap(), "--node", node], None);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        revision_of(&output.stdout)
    }
}

#[test]
fn an_api_server_is_followed_also_after_it_was_gone() {
    let Some(ground) = Ground::new("api") else { return };
    let api = Api::with_shop();
    let kubeconfig = api.server.write_kubeconfig(ground.directory()).unwrap();
    let mut compiler = Compiler::start(["--kubeconfig", kubeconfig.to_str().unwrap()], ground.directory());
    let flockctl = Flockctl::new(compiler.url());
    let _agents = NODES.map(|node| ground.agent(node, &compiler.url(), &[]));
    let scratch = ground.directory().join("listed.json");
    let settled = || {
        for node in NODES {
            settle(&ground, &flockctl, node, &api.revision(&scratch, node));
        }
    };
    settled();
    // What was translated first is checked meanwhile.
    wait_until("a compiler that is ready", || compiler.admin("/readyz").0 == 200);

    api.put(NETWORK_POLICY, allow("web"));
    settled();
    api.put(POD, pod("api", "n1", "10.1.0.3"));
    settled();

    let before = NODES.map(|node| api.revision(&scratch, node));
    api.server.go_away();
    wait_until("no watch", || compiler.metric("flock_compiler_watching{kind=\"Pod\"}") == Some(0.0));
    // What happens while nobody looks: a change, something new and a deletion.
    api.put(NETWORK_POLICY, allow("api"));
    api.put(POD, pod("cache", "n2", "10.1.0.5"));
    api.server.store().remove(POD, "shop", "web").unwrap();
    for (node, revision) in NODES.iter().zip(&before) {
        settle(&ground, &flockctl, node, revision);
    }
    let (status, ages) = compiler.admin("/readyz");
    assert_eq!(status, 200, "the last known world is still policy");
    assert!(ages.contains("\nPod: heard of ") && ages.contains(" s ago\n"), "{ages}");

    api.server.come_back();
    settled();
    assert_ne!(NODES.map(|node| api.revision(&scratch, node)), before);

    // A compiler that starts while the server is away publishes nothing until it is back.
    let scripts = NODES.map(|node| ground.scripts(node));
    api.server.go_away();
    compiler.kill();
    compiler.restart();
    wait_until("the agents", || flockctl.nodes().iter().filter(|node| node.connected).count() == 2);
    assert_eq!(compiler.admin("/readyz").0, 503);
    assert_eq!(compiler.admin("/healthz").0, 200);
    api.server.come_back();
    settled();
    assert_eq!(NODES.map(|node| ground.scripts(node)), scripts, "nothing had changed");
}

/// Nobody is let in.
fn deny(name: &str) -> Value {
    json!({
        "metadata": { "namespace": "shop", "name": name },
        "spec": { "podSelector": {}, "policyTypes": ["Ingress"] },
    })
}

#[test]
fn a_server_that_comes_back_with_everything_changed_opens_nothing_on_the_way() {
    let Some(ground) = Ground::new("api-changed") else { return };
    let api = Api::with_shop();
    api.put(NETWORK_POLICY, deny("before"));
    let web = ground.pod("n1", "web", "10.1.0.2");
    let db = ground.pod("n2", "db", "10.1.0.4");
    let kubeconfig = api.server.write_kubeconfig(ground.directory()).unwrap();
    let compiler = Compiler::start(["--kubeconfig", kubeconfig.to_str().unwrap()], ground.directory());
    let flockctl = Flockctl::new(compiler.url());
    let _agents = NODES.map(|node| ground.agent(node, &compiler.url(), &[]));
    let scratch = ground.directory().join("listed.json");
    for node in NODES {
        settle(&ground, &flockctl, node, &api.revision(&scratch, node));
    }
    let probe = Probe::new(&db, Protocol::Tcp, web.addresses()[0], 80);
    assert_eq!(probe.run().unwrap(), Verdict::Dropped);

    api.server.go_away();
    wait_until("no watch", || compiler.metric("flock_compiler_watching{kind=\"Pod\"}") == Some(0.0));
    // Every object is another one, and the server does not remember how that came about.
    for kind in [NETWORK_POLICY, POD, NAMESPACE] {
        for object in api.server.store().all(kind) {
            let metadata = |field| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            api.server.store().remove(kind, &metadata("namespace"), &metadata("name")).unwrap();
        }
    }
    api.put(NAMESPACE, json!({ "metadata": { "name": "shop", "labels": { "new": "yes" } } }));
    api.put(POD, pod("web-2", "n1", "10.1.0.2"));
    api.put(POD, pod("db-2", "n2", "10.1.0.4"));
    api.put(NETWORK_POLICY, deny("after"));
    api.put(NETWORK_POLICY, allow("nobody"));
    api.server.store().compact();
    api.server.come_back();
    let wanted = NODES.map(|node| (node, api.revision(&scratch, node)));
    let mut probes = 0;
    while !wanted.iter().all(|(node, revision)| ground.holds(node, revision)) {
        assert_eq!(probe.run().unwrap(), Verdict::Dropped, "on the way");
        probes += 1;
        assert!(probes < 200, "it should have settled long ago");
    }
    for (node, revision) in &wanted {
        settle(&ground, &flockctl, node, revision);
    }
    assert_eq!(probe.run().unwrap(), Verdict::Dropped);
    api.server.store().remove(NETWORK_POLICY, "shop", "after").unwrap();
    api.put(NETWORK_POLICY, allow("db-2"));
    wait_until("what is allowed now", || probe.run().unwrap() == Verdict::Reached);
}
