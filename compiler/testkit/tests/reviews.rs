//! Tokens and reviews, as a client of `kube` sees them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses some of it")]
mod support;

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flock_testkit::{
    API_AUDIENCE, AccountToken, ApiServer, Failure, Grant, Identity, POD, SERVICE_ACCOUNT,
    SUBJECT_ACCESS_REVIEW, Settings, Subject, TOKEN_REQUEST, TOKEN_REVIEW, Verb,
};
use k8s_openapi::api::authentication::v1::{
    TokenRequest, TokenRequestSpec, TokenReview, TokenReviewSpec, TokenReviewStatus,
};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};

use crate::support::{client, server, server_with, status};

/// What the server says of a token.
async fn review(client: &Client, token: &str, audiences: &[&str]) -> TokenReviewStatus {
    let audiences = audiences.iter().map(|audience| (*audience).to_owned()).collect();
    let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(audiences) };
    let review = TokenReview { spec, ..TokenReview::default() };
    let reviews: Api<TokenReview> = Api::all(client.clone());
    reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap()
}

/// Why the server does not know who is behind a token.
async fn refusal(client: &Client, token: &str, audiences: &[&str]) -> String {
    let status = review(client, token, audiences).await;
    assert_eq!((status.authenticated.unwrap_or_default(), status.audiences), (false, None));
    assert_eq!(status.user.and_then(|user| user.username), None);
    status.error.unwrap()
}

fn claims(token: &str) -> Value {
    let parts: Vec<_> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    assert_eq!(parts.len(), 3);
    serde_json::from_slice(&parts[1]).unwrap()
}

fn agent_token(server: &ApiServer) -> (String, String) {
    let pod = json!({
        "metadata": { "namespace": "flock", "name": "agent-1" },
        "spec": { "containers": [], "nodeName": "n1", "serviceAccountName": "agent" },
    });
    let pod = server.store().put(POD, pod).unwrap();
    let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
    let token = AccountToken::new("flock", "agent").audience("ours").pod("agent-1", &uid).node("n1");
    (server.identities().issue(&token.lifetime(Duration::from_secs(600))), uid)
}

#[tokio::test]
async fn a_token_of_an_account_says_who_and_where() {
    let (server, client) = server().await;
    let (token, uid) = agent_token(&server);
    let status = review(&client, &token, &["ours", "theirs"]).await;
    assert_eq!(
        (status.authenticated, status.audiences, status.error),
        (Some(true), Some(vec!["ours".into()]), None)
    );
    let user = status.user.unwrap();
    assert_eq!(user.username.as_deref(), Some("system:serviceaccount:flock:agent"));
    assert_eq!(
        user.groups.unwrap(),
        ["system:serviceaccounts", "system:serviceaccounts:flock", "system:authenticated"]
    );
    let extra = user.extra.unwrap();
    let of = |key: &str| extra[&format!("authentication.kubernetes.io/{key}")].join(",");
    assert_eq!([of("node-name"), of("pod-name"), of("pod-uid")], ["n1", "agent-1", &uid]);
    assert!(of("credential-id").starts_with("JTI="));

    let claims = claims(&token);
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!(user.username.unwrap()), &json!(["ours"])));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 600);
    assert_eq!(claims["kubernetes.io"]["node"]["name"], "n1");
    assert_eq!(claims["kubernetes.io"]["pod"]["uid"], uid.as_str());
}

#[tokio::test]
async fn what_does_not_count_is_refused_in_words() {
    let (server, client) = server().await;
    let (token, _) = agent_token(&server);
    assert!(refusal(&client, "nobody", &[]).await.contains("invalid bearer token"));
    for audiences in [&["theirs"][..], &[]] {
        assert!(refusal(&client, &token, audiences).await.contains("is invalid for the target audiences"));
    }
    let pod = server.store().remove(POD, "flock", "agent-1").unwrap();
    assert!(refusal(&client, &token, &["ours"]).await.contains("invalidated"));
    server.store().put(POD, pod).unwrap();
    assert!(refusal(&client, &token, &["ours"]).await.contains("invalidated"), "another pod of the name");

    let (token, _) = agent_token(&server);
    server.identities().advance(Duration::from_secs(599));
    assert_eq!(review(&client, &token, &["ours"]).await.authenticated, Some(true));
    server.identities().advance(Duration::from_secs(2));
    assert!(refusal(&client, &token, &["ours"]).await.contains("expired"));
    let (token, _) = agent_token(&server);
    assert!(server.identities().revoke(&token));
    assert!(refusal(&client, &token, &["ours"]).await.contains("invalid"));

    let reviews: Api<TokenReview> = Api::all(client);
    let empty = reviews.create(&PostParams::default(), &TokenReview::default()).await;
    assert_eq!(status(empty).code, 400);
}

#[tokio::test]
async fn any_string_may_be_a_token_and_is_for_the_server_unless_it_says_more() {
    let (server, client) = server().await;
    server.identities().register("opaque", Identity { uid: "7".into(), ..Identity::user("alice") });
    for audiences in [&[][..], &[API_AUDIENCE]] {
        let status = review(&client, "opaque", audiences).await;
        assert_eq!(status.audiences, Some(vec![API_AUDIENCE.to_owned()]));
        assert_eq!(status.user.unwrap().uid.as_deref(), Some("7"));
    }
    assert!(refusal(&client, "opaque", &["ours"]).await.contains("audiences"));
    assert!(!format!("{:?}", server.identities()).contains("opaque"));
}

/// Returns true if somebody may do something.
async fn allowed(client: &Client, spec: Value) -> bool {
    let review = json!({ "spec": spec });
    let mut review: SubjectAccessReview = serde_json::from_value(review).unwrap();
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    review = reviews.create(&PostParams::default(), &review).await.unwrap();
    let status = review.status.unwrap();
    assert_eq!(status.reason.is_some_and(|reason| reason.starts_with("RBAC: allowed by")), status.allowed);
    status.allowed
}

#[tokio::test]
async fn access_is_what_was_granted_and_a_namespace_is_not_all_of_them() {
    let (server, client) = server().await;
    let asks = |user: &str, verb: &str, name: &str, namespace: &str| {
        let attributes = json!({
            "group": "flock.netpol", "resource": "things", "verb": verb, "name": name, "namespace": namespace,
        });
        allowed(&client, json!({ "user": user, "groups": ["dev"], "resourceAttributes": attributes }))
    };
    assert!(!asks("alice", "get", "", "").await);
    let grants = server.grants();
    let things = |subject, verb| Grant::resource(subject, verb, "flock.netpol", "things");
    grants.allow(things(Subject::user("alice"), "get").within("shop"));
    assert!(asks("alice", "get", "", "shop").await && asks("alice", "get", "x", "shop").await);
    assert!(!asks("alice", "get", "", "").await, "all namespaces");
    assert!(!asks("alice", "get", "", "bank").await && !asks("alice", "list", "", "shop").await);
    assert!(!asks("bob", "get", "", "shop").await);

    let everywhere = things(Subject::group("dev"), "*").named("x");
    grants.allow(everywhere.clone());
    assert!(asks("bob", "list", "x", "").await && asks("bob", "list", "x", "shop").await);
    assert!(!asks("bob", "list", "y", "").await && !asks("bob", "list", "", "").await);
    assert!(grants.withdraw(&everywhere));
    assert!(!asks("bob", "list", "x", "").await);

    grants.allow(Grant::path(Subject::account("flock", "agent"), "get", "/metrics/*"));
    let path = |path: &str| {
        let attributes = json!({ "path": path, "verb": "get" });
        allowed(
            &client,
            json!({ "user": "system:serviceaccount:flock:agent", "nonResourceAttributes": attributes }),
        )
    };
    assert!(path("/metrics/a").await && !path("/healthz").await);
    let part = json!({ "resource": "pods", "subresource": "portforward", "verb": "get" });
    let spec = json!({ "user": "carol", "resourceAttributes": part });
    assert!(!allowed(&client, spec.clone()).await);
    grants.allow(Grant::resource(Subject::user("carol"), "get", "", "pods/portforward"));
    assert!(allowed(&client, spec).await);
    grants.clear();
    assert!(!path("/metrics/a").await);

    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let nothing = reviews.create(&PostParams::default(), &SubjectAccessReview::default()).await;
    assert_eq!(status(nothing).code, 422);
}

#[tokio::test]
async fn an_account_s_token_is_issued_for_whom_it_is_asked() {
    let (server, client) = server().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "flock");
    let ask = async |spec: Value| {
        let spec: TokenRequestSpec = serde_json::from_value(spec).unwrap();
        let request = TokenRequest { spec, ..TokenRequest::default() };
        accounts.create_token_request("agent", &PostParams::default(), &request).await
    };
    let missing = status(ask(json!({ "audiences": ["ours"] })).await);
    assert_eq!((missing.code, &*missing.message), (404, "serviceaccounts \"agent\" not found"));
    let account = json!({ "metadata": { "namespace": "flock", "name": "agent" } });
    server.store().put(SERVICE_ACCOUNT, account).unwrap();

    let issued = ask(json!({ "audiences": ["ours"], "expirationSeconds": 600 })).await.unwrap();
    let answer = issued.status.unwrap();
    let claims = claims(&answer.token);
    assert_eq!(claims["exp"].as_i64(), Some(answer.expiration_timestamp.0.as_second()));
    let status_of = review(&client, &answer.token, &["ours"]).await;
    assert_eq!(status_of.user.unwrap().username.as_deref(), Some("system:serviceaccount:flock:agent"));
    let default = ask(json!({ "audiences": [] })).await.unwrap();
    assert_eq!(default.spec.expiration_seconds, Some(3600));
    assert_eq!(review(&client, &default.status.unwrap().token, &[]).await.authenticated, Some(true));
    assert_eq!(status(ask(json!({ "audiences": [], "expirationSeconds": 599 })).await).code, 422);

    let (_, uid) = agent_token(&server);
    let bound = |uid: &str| json!({ "audiences": ["ours"], "boundObjectRef": { "apiVersion": "v1", "kind": "Pod", "name": "agent-1", "uid": uid } });
    assert_eq!(status(ask(bound("other")).await).code, 409);
    let token = ask(bound(&uid)).await.unwrap().status.unwrap().token;
    let extra = review(&client, &token, &["ours"]).await.user.unwrap().extra.unwrap();
    assert_eq!(extra["authentication.kubernetes.io/node-name"], ["n1"]);
    assert_eq!(server.requests(TOKEN_REQUEST, Verb::Create), 6);
}

#[tokio::test]
async fn reviews_are_counted_fail_and_take_their_time() {
    let (server, client) = server().await;
    let faults = server.faults();
    faults.fail(TOKEN_REVIEW, Verb::Create, Failure { code: 503, retry_after: None }, 1);
    let reviews: Api<TokenReview> = Api::all(client.clone());
    let failed = reviews.create(&PostParams::default(), &TokenReview::default()).await;
    assert_eq!(status(failed).code, 503);
    faults.delay(SUBJECT_ACCESS_REVIEW, Verb::Create, Duration::from_millis(100));
    let spec = json!({ "user": "x", "nonResourceAttributes": { "path": "/", "verb": "get" } });
    let before = Instant::now();
    assert!(!allowed(&client, spec.clone()).await);
    assert!(before.elapsed() >= Duration::from_millis(100));
    faults.mend();
    assert!(!allowed(&client, spec).await);
    assert_eq!(server.requests(TOKEN_REVIEW, Verb::Create), 1);
    assert_eq!(server.requests(SUBJECT_ACCESS_REVIEW, Verb::Create), 2);
}

#[tokio::test]
async fn a_closed_server_lets_in_who_has_a_token_for_it() {
    let settings = Settings { closed: true, ..Settings::default() };
    let (server, nobody) = server_with(settings, None).await;
    let list = async |client: Client| Api::<Pod>::all(client).list(&ListParams::default()).await;
    assert_eq!(status(list(nobody).await).code, 401);
    assert_eq!(status(list(client(&server, Some("unknown"))).await).reason, "Unauthorized");
    let foreign = server.identities().issue(&AccountToken::new("a", "b").audience("ours"));
    assert_eq!(status(list(client(&server, Some(&foreign))).await).code, 401);
    let own = server.identities().issue(&AccountToken::new("a", "b"));
    assert!(list(client(&server, Some(&own))).await.is_ok());
}
