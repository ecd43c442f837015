//! What is missing or not allowed on the way is named, with what to do about it.

use flock_shared::access::{CA_CONFIG_MAP, CLIENT_ACCOUNT, NAMESPACE};
use flock_testkit::{CONFIG_MAP, Failure, Kind, POD, PORT_FORWARD, SERVICE_ACCOUNT, TOKEN_REQUEST, Verb};
use serde_json::json;
use tonic::Status;

use crate::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_are_not_ready_are_named() {
    let site = Site::start().await;
    site.pod("compiler-a", "False", site.compiler.address);
    let complaint = site.complains("nodes").await;
    let expected = "no pod of the compiler is ready in namespace flock-system: compiler-a is not ready; \
                    `kubectl -n flock-system describe pod` says why";
    assert_eq!(complaint, expected);
    site.api.store().remove(POD, NAMESPACE, "compiler-a").unwrap();
    let complaint = site.complains("nodes").await;
    assert!(complaint.starts_with("no pod of the compiler in namespace flock-system of context \"here\""));
    assert!(complaint.contains("app.kubernetes.io/name=flock-compiler"), "{complaint}");
    let complaint = site.complains("nodes --compiler-namespace other").await;
    assert!(complaint.contains("in namespace other"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_map_of_the_authorities_and_the_account_are_named() {
    let site = Site::start().await;
    let complaint = site.complains("nodes --service-account viewer").await;
    assert!(complaint.starts_with("ServiceAccount flock-system/viewer is missing"), "{complaint}");
    site.api.store().remove(SERVICE_ACCOUNT, NAMESPACE, CLIENT_ACCOUNT).unwrap();
    let complaint = site.complains("nodes").await;
    assert!(complaint.starts_with("ServiceAccount flock-system/flockctl is missing"), "{complaint}");
    assert!(complaint.contains("--service-account"), "{complaint}");

    site.publish(&json!({ "other": "" }));
    let complaint = site.complains("nodes").await;
    assert!(complaint.starts_with("ConfigMap flock-system/flock-compiler-ca holds no \"ca.crt\""));
    site.api.store().remove(CONFIG_MAP, NAMESPACE, CA_CONFIG_MAP).unwrap();
    let complaint = site.complains("nodes").await;
    assert!(complaint.starts_with("ConfigMap flock-system/flock-compiler-ca is missing"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rule_that_is_missing_is_named() {
    let site = Site::start().await;
    let cases: [(Kind, Verb, &str, &str); 4] = [
        (
            TOKEN_REQUEST,
            Verb::Create,
            "cannot get a token of ServiceAccount flock-system/flockctl: ",
            "{apiGroups: [\"\"], resources: [serviceaccounts/token], resourceNames: [flockctl], verbs: [create]}",
        ),
        (
            POD,
            Verb::List,
            "cannot list the pods of namespace flock-system: ",
            "{apiGroups: [\"\"], resources: [pods], verbs: [list]}",
        ),
        (
            CONFIG_MAP,
            Verb::Get,
            "cannot read ConfigMap flock-system/flock-compiler-ca: ",
            "resources: [configmaps], resourceNames: [flock-compiler-ca], verbs: [get]}",
        ),
        (
            PORT_FORWARD,
            Verb::Get,
            "cannot forward a port of pod flock-system/compiler-a: ",
            "resources: [pods/portforward], verbs: [get, create]}",
        ),
    ];
    for (kind, verb, what, rule) in cases {
        site.api.faults().fail(kind, verb, Failure { code: 403, retry_after: None }, 1);
        let complaint = site.complains("nodes").await;
        assert!(complaint.starts_with(what), "{complaint}");
        assert!(complaint.contains("injected by the test"), "the API server's words: {complaint}");
        assert!(
            complaint.ends_with(rule) && complaint.contains("in namespace flock-system: {"),
            "{complaint}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_compiler_denies_is_in_its_words() {
    let site = Site::start().await;
    let words = "user \"system:serviceaccount:flock-system:flockctl\" cannot get resource \"nodescripts\"";
    *site.compiler.debug.refusal.lock().unwrap() = Some(Status::permission_denied(words));
    for arguments in ["nodes", "problems", "script n1", "output n1", "watch n1"] {
        assert_eq!(site.refuses(arguments).await, words);
    }
}
