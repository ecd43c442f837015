//! Tokens of accounts, who is behind them, and who may do what.

use serde_json::{Value, json};

use crate::agreed;
use crate::site::Site;

agreed!(
    a_token_says_who_it_is_of_to_whom_it_is_for,
    a_token_that_is_bound_to_a_pod_says_where_that_runs,
    what_is_no_token_is_nobodys,
    tokens_that_may_not_be_given_out_are_refused,
    rights_are_those_that_were_given,
    a_question_about_rights_is_about_one_thing,
);

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const RIGHTS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const AUDIENCE: &str = "flock-of-a-test";

async fn account(site: &Site) {
    let made = site.post(&site.path("serviceaccounts"), json!({ "metadata": { "name": "agent" } })).await;
    assert_eq!(made.code, 201);
}

/// Asks for a token of the account.
async fn token(site: &Site, spec: Value) -> Value {
    let request = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec });
    let answer = site.post(&site.path("serviceaccounts/agent/token"), request).await;
    assert_eq!(answer.code, 201);
    answer.object()
}

/// What is said of a token.
async fn review(site: &Site, token: &str, audiences: &[&str]) -> Value {
    let spec = json!({ "token": token, "audiences": audiences });
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec });
    let answer = site.post(REVIEWS, review).await;
    assert_eq!(answer.code, 201);
    answer.object()["status"].clone()
}

async fn a_token_says_who_it_is_of_to_whom_it_is_for(site: &Site) {
    account(site).await;
    let issued = token(site, json!({ "audiences": [AUDIENCE], "expirationSeconds": 600 })).await;
    assert_eq!((&issued["kind"], &issued["spec"]["audiences"]), (&json!("TokenRequest"), &json!([AUDIENCE])));
    let text = issued["status"]["token"].as_str().unwrap();
    assert_eq!(text.split('.').count(), 3);
    assert!(issued["status"]["expirationTimestamp"].as_str().is_some_and(|time| time.ends_with('Z')));

    let status = review(site, text, &[AUDIENCE, "another"]).await;
    assert_eq!(
        (&status["authenticated"], &status["audiences"]),
        (&json!(true), &json!([AUDIENCE])),
        "{status}"
    );
    let user = &status["user"];
    assert_eq!(user["username"], format!("system:serviceaccount:{}:agent", site.namespace));
    let groups = user["groups"].as_array().unwrap();
    for group in [
        "system:serviceaccounts",
        &format!("system:serviceaccounts:{}", site.namespace),
        "system:authenticated",
    ] {
        assert!(groups.iter().any(|it| it == group), "{group}: {groups:?}");
    }
    let account = site.get(&site.path("serviceaccounts/agent")).await.object();
    assert_eq!(user["uid"], account["metadata"]["uid"]);

    let to_others = review(site, text, &["another"]).await;
    assert_ne!(to_others["authenticated"], true, "{to_others}");
    assert!(to_others["error"].as_str().is_some_and(|error| !error.is_empty()), "{to_others}");
}

async fn a_token_that_is_bound_to_a_pod_says_where_that_runs(site: &Site) {
    account(site).await;
    let spec = json!({
        "serviceAccountName": "agent", "automountServiceAccountToken": false, "nodeName": "n1",
        "containers": [{ "name": "c", "image": "i" }],
    });
    let pod =
        site.post(&site.path("pods"), json!({ "metadata": { "name": "p" }, "spec": spec })).await.object();
    let uid = &pod["metadata"]["uid"];
    let bound = json!({ "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid });
    let issued = token(site, json!({ "audiences": [AUDIENCE], "boundObjectRef": bound })).await;
    let text = issued["status"]["token"].as_str().unwrap();
    let extra = review(site, text, &[AUDIENCE]).await["user"]["extra"].clone();
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["p"]), "{extra}");
    assert_eq!(extra["authentication.kubernetes.io/pod-uid"], json!([uid]), "{extra}");
    assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["n1"]), "{extra}");
    let stale = json!({ "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "another" });
    let request = json!({ "spec": { "audiences": [AUDIENCE], "boundObjectRef": stale } });
    let refused = site.post(&site.path("serviceaccounts/agent/token"), request).await;
    assert_eq!(refused.refusal(), (409, "Conflict"));
}

async fn what_is_no_token_is_nobodys(site: &Site) {
    for text in ["e30.e30.c2lnbmF0dXJl", "nonsense"] {
        let status = review(site, text, &[AUDIENCE]).await;
        assert_ne!(status["authenticated"], true, "{status}");
    }
    let nothing = site.post(REVIEWS, json!({ "spec": { "audiences": [AUDIENCE] } })).await;
    assert_eq!(nothing.refusal(), (400, "BadRequest"));
}

async fn tokens_that_may_not_be_given_out_are_refused(site: &Site) {
    let path = site.path("serviceaccounts/agent/token");
    let spec = |seconds: u64| json!({ "spec": { "audiences": [AUDIENCE], "expirationSeconds": seconds } });
    assert_eq!(site.post(&path, spec(600)).await.refusal(), (404, "NotFound"));
    account(site).await;
    assert_eq!(site.post(&path, spec(599)).await.refusal(), (422, "Invalid"));
}

/// Returns true if somebody may do something, by the attributes of a review.
async fn may(site: &Site, spec: Value) -> bool {
    let answer = site.post(RIGHTS, json!({ "spec": spec })).await;
    assert_eq!(answer.code, 201);
    let object = answer.object();
    assert_eq!(object["kind"], "SubjectAccessReview");
    object["status"]["allowed"].as_bool().expect("it is always there")
}

async fn rights_are_those_that_were_given(site: &Site) {
    let user = format!("alice-{}", site.suffix);
    let asks = |user: &str, verb: &str, resource: &str, subresource: &str| {
        let attributes = json!({
            "verb": verb, "resource": resource, "subresource": subresource, "namespace": site.namespace,
        });
        may(site, json!({ "user": user, "resourceAttributes": attributes }))
    };
    assert!(!asks(&user, "get", "pods", "").await);
    site.allow(&user, "get", "pods/log").await;
    // Where rights are kept in a cache, it has to hear of it.
    for _ in 0..100 {
        if asks(&user, "get", "pods", "log").await {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(asks(&user, "get", "pods", "log").await);
    assert!(!asks(&user, "get", "pods", "").await && !asks(&user, "list", "pods", "log").await);
    assert!(!asks("bob", "get", "pods", "log").await);
}

async fn a_question_about_rights_is_about_one_thing(site: &Site) {
    let (thing, path) = (json!({ "verb": "get", "resource": "pods" }), json!({ "verb": "get", "path": "/" }));
    for spec in [
        json!({ "user": "alice" }),
        json!({ "user": "alice", "resourceAttributes": thing, "nonResourceAttributes": path }),
        json!({ "resourceAttributes": thing }),
    ] {
        let refused = site.post(RIGHTS, json!({ "spec": spec })).await;
        assert_eq!(refused.refusal(), (422, "Invalid"), "{spec}");
    }
}
