//! flockctl on its way through the API server to a compiler that serves TLS and asks who may know what.

use std::process::Output;

use flock_shared::access::{
    API_GROUP, CLIENT_ACCOUNT, NAMESPACE as OURS, NODE_SCRIPTS, POLICY_DROPS, POLICY_EXPLANATIONS, PORT,
    SERVICE,
};
use flock_testkit::{Grant, NAMESPACE, NETWORK_POLICY, NODE, POD, SERVICE_ACCOUNT, Subject};
use serde_json::json;
use tempfile::TempDir;

use crate::api::Api;
use crate::compiler::Compiler;
use crate::shop::pod;
use crate::support::programs::{FLOCKCTL, program};
use crate::support::wait::wait_until;

/// A cluster in which a compiler runs, without agents, which needs no root.
struct ClusterWithoutAgents {
    directory: TempDir,
    compilers: Vec<Compiler>,
    api: Api,
}

impl ClusterWithoutAgents {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let api = Api::start();
        api.put(NODE, json!({ "metadata": { "name": "n1" } }));
        api.put(POD, pod("web", "n1", "10.1.0.2"));
        for namespace in ["shop", "bank"] {
            api.put(NAMESPACE, json!({ "metadata": { "name": namespace } }));
            let metadata = json!({ "namespace": namespace, "name": "of-the-future" });
            api.put(
                NETWORK_POLICY,
                json!({ "metadata": metadata, "spec": { "podSelector": {}, "tier": 1 } }),
            );
        }
        api.server.write_kubeconfig(directory.path()).unwrap();
        api.put(SERVICE_ACCOUNT, json!({ "metadata": { "namespace": OURS, "name": CLIENT_ACCOUNT } }));
        let mut cluster = Self { directory, compilers: Vec::new(), api };
        cluster.another();
        cluster
    }

    /// One more compiler; the name of its pod.
    fn another(&mut self) -> String {
        let kubeconfig = self.directory.path().join("kubeconfig");
        let options = ["--kubeconfig", kubeconfig.to_str().unwrap(), "--tls", "on"];
        let compiler = Compiler::start(options, self.directory.path());
        let address = compiler.url().trim_start_matches("http://").parse().unwrap();
        let conditions = json!([{ "type": "Ready", "status": "True" }]);
        let labels = json!({ "app.kubernetes.io/name": SERVICE });
        let name = format!("compiler-{}", self.compilers.len());
        let own = json!({
            "metadata": { "namespace": OURS, "name": name, "labels": labels },
            "spec": { "nodeName": "n1", "hostNetwork": true },
            "status": { "phase": "Running", "conditions": conditions },
        });
        self.api.put(POD, own);
        self.api.server.forwards().add(OURS, &name, PORT, address);
        self.compilers.push(compiler);
        name
    }

    fn allow(&self, resource: &str, namespace: Option<&str>) {
        let grant = Grant::resource(Subject::account(OURS, CLIENT_ACCOUNT), "get", API_GROUP, resource);
        self.api.server.grants().allow(match namespace {
            Some(namespace) => grant.within(namespace),
            None => grant,
        });
    }

    /// Whether flockctl answers, and what it says.
    fn flockctl(&self, arguments: &[&str]) -> (bool, String) {
        let (code, said) = self.exits(arguments);
        // No node has an agent, so none is current.
        (code == Some(0) || code == Some(1) && arguments[0] == "nodes", said)
    }

    /// What flockctl exits with, and what it says.
    fn exits(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = program(FLOCKCTL);
        command.env("KUBECONFIG", self.directory.path().join("kubeconfig")).args(arguments);
        let Output { status, stdout, stderr } = command.output().unwrap();
        let said = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert!(!said.contains("eyJ"), "a token was printed: {said}");
        (status.code(), said)
    }
}

#[test]
fn flockctl_goes_through_the_api_server_and_is_told_what_it_may_know() {
    let cluster = ClusterWithoutAgents::start();
    let mut said = String::new();
    wait_until("a word of the compiler", || {
        said = cluster.flockctl(&["nodes"]).1;
        said.contains("cannot get resource")
    });
    let denied =
        r#"flockctl: user "system:serviceaccount:flock-system:flockctl" cannot get resource "nodescripts""#;
    assert!(said.starts_with(denied), "{said}");

    cluster.allow(NODE_SCRIPTS, None);
    cluster.allow(POLICY_EXPLANATIONS, Some("shop"));
    // What was denied is remembered for a while, and a new token is a new question.
    wait_until("the nodes", || cluster.flockctl(&["nodes"]).0);
    let (_, nodes) = cluster.flockctl(&["nodes"]);
    assert!(nodes.contains("n1") && !nodes.contains("problem(s)"), "{nodes}");
    wait_until("a script", || cluster.flockctl(&["script", "n1"]).1.contains("table inet flock_netpol"));

    wait_until("problems", || cluster.flockctl(&["problems", "-n", "shop"]).1.contains("of-the-future"));
    let (_, problems) = cluster.flockctl(&["problems", "-n", "shop"]);
    assert!(
        problems.contains("NetworkPolicy shop/of-the-future") && !problems.contains("bank"),
        "{problems}"
    );
    for (arguments, scope) in
        [(&["problems"][..], "in all namespaces"), (&["problems", "-n", "bank"], "in the namespace \"bank\"")]
    {
        let (allowed, said) = cluster.flockctl(arguments);
        assert!(!allowed && said.contains("cannot get resource \"policyexplanations\""), "{said}");
        assert!(said.contains(scope), "{said}");
    }
}

#[test]
fn each_pod_of_the_compiler_is_asked_by_a_port_of_its_own() {
    let mut cluster = ClusterWithoutAgents::start();
    cluster.allow(NODE_SCRIPTS, None);
    cluster.allow(POLICY_EXPLANATIONS, None);
    wait_until("the nodes", || cluster.flockctl(&["nodes"]).0);
    let (code, nodes) = cluster.exits(&["nodes"]);
    assert_eq!(code, Some(1), "{nodes}");
    assert!(nodes.contains("no agent") && nodes.contains("0 of 1 nodes enforce"), "{nodes}");

    let other = cluster.another();
    wait_until("both", || cluster.flockctl(&["nodes"]).1.contains("asked 2 of 2 replicas"));
    let (_, nodes) = cluster.flockctl(&["nodes"]);
    assert!(nodes.contains("no agent") && !nodes.contains("was not asked"), "{nodes}");
    assert_eq!(nodes.lines().filter(|line| line.starts_with("n1")).count(), 1, "{nodes}");
    let (_, problems) = cluster.flockctl(&["problems"]);
    assert_eq!(problems.matches("NetworkPolicy shop/of-the-future").count(), 1, "{problems}");

    cluster.compilers[1].kill();
    let (code, nodes) = cluster.exits(&["nodes"]);
    assert_eq!(code, Some(1), "{nodes}");
    assert!(nodes.contains("not known") && !nodes.contains("no agent"), "{nodes}");
    assert!(nodes.contains(&format!("pod {OURS}/{other} was not asked: ")), "{nodes}");
    cluster.compilers[0].kill();
    let (code, complaint) = cluster.exits(&["nodes"]);
    assert_eq!(code, Some(3), "{complaint}");
}

#[test]
fn a_tenant_is_answered_through_the_api_server_and_told_nothing_of_others() {
    let cluster = ClusterWithoutAgents::start();
    let labels = json!({ "vault": "topsecret" });
    cluster.api.put(
        POD,
        json!({
            "metadata": { "namespace": "bank", "name": "safe", "labels": labels },
            "spec": { "nodeName": "n7" },
            "status": { "phase": "Running", "podIPs": [{ "ip": "10.9.0.1" }] },
        }),
    );
    cluster.api.put(
        NETWORK_POLICY,
        json!({
            "metadata": { "namespace": "bank", "name": "hidden-rules" },
            "spec": { "podSelector": { "matchLabels": labels }, "policyTypes": ["Ingress"] },
        }),
    );
    for resource in [POLICY_EXPLANATIONS, POLICY_DROPS] {
        cluster.allow(resource, Some("shop"));
    }
    let explain = ["explain", "shop/web", "bank/safe", "443"];
    wait_until("the denial", || cluster.exits(&explain).1.starts_with("DENIED"));
    let file = cluster.directory.path().join("new.yaml");
    let kind = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy";
    let policy = "metadata: {namespace: shop, name: new}\nspec: {podSelector: {}, policyTypes: [Egress]}";
    std::fs::write(&file, format!("{kind}\n{policy}\n")).unwrap();
    let questions: [(&[&str], &[i32]); 12] = [
        (&explain, &[1]),
        (&["can", "shop/web", "reach", "bank/safe:443"], &[1]),
        (&["who-can", "reach", "shop/web"], &[0]),
        (&["reach", "shop/web"], &[0]),
        (&["matrix", "-n", "shop"], &[0]),
        (&["open", "-n", "shop"], &[0]),
        (&["policies", "-n", "shop"], &[0]),
        (&["lint", "-n", "shop"], &[0, 1]),
        (&["history", "-n", "shop"], &[0]),
        (&["receipt", "-n", "shop"], &[0]),
        (&["drops", "-n", "shop"], &[0]),
        (&["preview", "-f", file.to_str().unwrap()], &[0, 1]),
    ];
    for (question, codes) in questions {
        for shape in [&[][..], &["-o", "json"]] {
            let (code, said) = cluster.exits(&[question, shape].concat());
            assert!(code.is_some_and(|code| codes.contains(&code)), "{question:?}: {code:?}: {said}");
            for secret in ["hidden-rules", "topsecret", "vault", "10.9.0.1", "n7"] {
                assert!(!said.contains(secret), "{question:?}: {secret}: {said}");
            }
        }
    }
    let refused: [&[&str]; 5] = [
        &["explain", "bank/safe", "bank/safe", "443"],
        &["policies", "-n", "bank"],
        &["drops", "-n", "bank"],
        &["drops"],
        &["matrix", "-A"],
    ];
    for question in refused {
        let (code, said) = cluster.exits(question);
        assert_eq!(code, Some(2), "{question:?}: {said}");
        assert!(!said.contains("hidden-rules") && !said.contains("topsecret"), "{said}");
    }
}
