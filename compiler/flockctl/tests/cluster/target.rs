//! The compiler through a cluster, when everything is as it should be.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flock_testkit::{PORT_FORWARD, TOKEN_REQUEST, Verb, rights};
use serde_json::{Value, json};

use crate::site::{Site, USER_TOKEN, end};

#[tokio::test(flavor = "multi_thread")]
async fn the_compiler_is_shown_a_short_token_for_itself() {
    let site = Site::start().await;
    let nodes = site.prints("nodes").await;
    assert!(nodes.contains("n1") && nodes.contains("1 problem(s)"), "{nodes}");
    assert_eq!(site.prints("script n1").await, "add table inet flock_netpol\n");
    let shown = site.compiler.debug.authorizations.lock().unwrap().clone();
    let tokens: Vec<&str> = shown.iter().map(|header| header.strip_prefix("Bearer ").unwrap()).collect();
    assert_eq!(tokens[0], tokens[1], "one for a run");
    assert_ne!(tokens[1], tokens[2]);
    let claims = URL_SAFE_NO_PAD.decode(tokens[0].split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], json!(["flock-netpol"]));
    assert_eq!(claims["sub"], "system:serviceaccount:flock-system:flockctl");
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 600);
    assert_eq!(site.api.requests(TOKEN_REQUEST, Verb::Create), 2);
    assert_eq!(site.api.requests(PORT_FORWARD, Verb::Get), 2);

    // What the manifest's role gives those who may look. From Kubernetes 1.35 on, a port is forwarded by the right to create.
    let mut rights = rights("flockctl-user");
    assert!(rights.remove("create pods/portforward"));
    assert_eq!(site.api.asked(), rights);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_is_chosen_as_kubectl_does() {
    let site = Site::start().await;
    let file = site.kubeconfig();
    let file = file.to_str().unwrap();
    site.prints(&format!("nodes --kubeconfig {file} --context here")).await;
    let complaint = site.complains("nodes --context elsewhere").await;
    assert!(complaint.contains("127.0.0.1:1") || complaint.contains("refused"), "{complaint}");
    let complaint = site.complains("nodes --context nowhere").await;
    assert_eq!(complaint, "the kubeconfig has no context \"nowhere\"; it has here, elsewhere");
    let complaint = site.complains("nodes --kubeconfig missing").await;
    assert!(complaint.starts_with("cannot read the kubeconfig: missing: No such file"), "{complaint}");

    // What was typed beats the environment.
    let mut command = site.flockctl("nodes --context here");
    command.env("FLOCK_COMPILER", "http://127.0.0.1:1").env("FLOCK_CA_FILE", "nowhere");
    assert_eq!(end(command).await.code, Some(0));
    // ~/.kube/config
    std::fs::create_dir(site.directory.path().join(".kube")).unwrap();
    std::fs::copy(file, site.directory.path().join(".kube/config")).unwrap();
    let mut command = site.flockctl("nodes");
    command.env_remove("KUBECONFIG");
    assert_eq!(end(command).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_are_asked_for_by_namespace_and_the_context_s_is_not_applied() {
    let site = Site::start().await;
    for arguments in ["problems", "problems -n shop", "problems --all-namespaces", "-n bank nodes"] {
        site.prints(arguments).await;
    }
    assert_eq!(*site.compiler.debug.namespaces.lock().unwrap(), ["", "shop", "", "bank"]);
    let complaint = site.refuses("problems -n forbidden").await;
    assert_eq!(complaint, "user \"alice\" cannot get resource \"policyexplanations\"");
    let nodes = site.prints("nodes -n forbidden").await;
    assert!(nodes.contains("n1") && !nodes.contains("problem"), "nodes are seen without: {nodes}");
    assert!(site.prints("nodes -n shop").await.contains("flockctl problems -n shop"));
    for arguments in ["problems -n nosuch", "nodes -n nosuch"] {
        assert_eq!(site.refuses(arguments).await, "no namespace \"nosuch\"");
    }
    site.compiler.debug.problems.lock().unwrap().clear();
    assert_eq!(site.prints("problems -n shop").await, "no problems in namespace shop\n");
    assert_eq!(site.prints("problems").await, "no problems\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_of_the_kubeconfig_says_who_asks() {
    let site = Site::start().await;
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": { "token": USER_TOKEN },
    });
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "echo",
        "args": [credential.to_string()],
        "interactiveMode": "Never",
    });
    site.write_kubeconfig(&json!({ "exec": exec }));
    assert!(site.prints("nodes").await.contains("n1"));
    site.write_kubeconfig(&json!({ "token": "another" }));
    let complaint = site.complains("nodes").await;
    assert!(complaint.contains("does not accept the credentials of context \"here\""), "{complaint}");
}
