//! What askers may see: a tenant of a namespace gets answers of it, and nothing of others.

use std::time::Duration;

use flock_compiler::access::ReviewSettings;
use flock_proto::v1;
use flock_proto::v1::ask_service_client::AskServiceClient;
use flock_proto::v1::end::End as EndOf;
use flock_shared::access::{API_GROUP, AUDIENCE, POLICY_EXPLANATIONS};
use flock_shared::token::BearerToken;
use flock_testkit::{AccountToken, Grant, NAMESPACE, NETWORK_POLICY, POD, Subject};
use serde_json::json;
use tonic::{Code, Request, Status};

use super::cluster::Cluster;
use super::compiler::{Compiler, Setup, agents};

fn forgetful() -> Setup {
    let remembered = Duration::ZERO;
    let settings = ReviewSettings { remembered, ..ReviewSettings::new(AUDIENCE.to_owned(), agents()) };
    Setup { settings, ..Setup::default() }
}

fn tenant(cluster: &Cluster) -> BearerToken {
    cluster.issue(&AccountToken::new("shop", "tenant").audience(AUDIENCE))
}

fn grant() -> Grant {
    Grant::resource(Subject::account("shop", "tenant"), "get", API_GROUP, POLICY_EXPLANATIONS)
}

fn with<T>(token: &BearerToken, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", token.authorization());
    request
}

fn pod(namespace: &str, name: &str) -> Option<v1::End> {
    let name = v1::PodName { namespace: namespace.to_owned(), name: name.to_owned() };
    Some(v1::End { end: Some(EndOf::Pod(name)) })
}

fn explain(from: Option<v1::End>, to: Option<v1::End>) -> v1::ExplainRequest {
    v1::ExplainRequest { from, to, port: Some(v1::Port { protocol: "TCP".to_owned(), number: 443 }) }
}

/// A cluster with a second namespace, whose policy and labels are nobody else's business.
async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    let put = |kind, object| drop(cluster.api.store().put(kind, object).unwrap());
    put(NAMESPACE, json!({ "metadata": { "name": "bank" } }));
    put(
        POD,
        json!({
            "metadata": { "namespace": "bank", "name": "safe", "labels": { "vault": "topsecret" } },
            "spec": { "nodeName": "n2" },
            "status": { "phase": "Running", "podIPs": [{ "ip": "10.9.0.1" }] },
        }),
    );
    put(
        NETWORK_POLICY,
        json!({
            "metadata": { "namespace": "bank", "name": "hidden-rules" },
            "spec": { "podSelector": { "matchLabels": { "vault": "topsecret" } }, "policyTypes": ["Ingress"] },
        }),
    );
    cluster
}

#[tokio::test]
async fn a_tenant_gets_answers_of_its_namespace_and_nothing_of_others() {
    let cluster = cluster().await;
    let compiler = Compiler::start_with(&cluster, forgetful()).await;
    let token = tenant(&cluster);
    let mut client = AskServiceClient::new(compiler.dial(&cluster).await);
    let (own, other) = (pod("shop", "web-0"), pod("bank", "safe"));
    let mut asked = async |from: &Option<v1::End>, to: &Option<v1::End>| {
        let answered = client.explain(with(&token, explain(from.clone(), to.clone()))).await;
        answered.map(tonic::Response::into_inner)
    };
    let refused = asked(&own, &other).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "without any right");

    cluster.api.grants().allow(grant().within("shop"));
    let answer = asked(&own, &other).await.unwrap();
    let [explanation] = &answer.explanations[..] else { panic!("{answer:?}") };
    assert!(!explanation.allowed);
    let said = format!("{answer:?}");
    assert!(said.contains("namespace bank"), "{said}");
    for secret in ["hidden-rules", "topsecret", "vault", "10.9.0.1", "n2"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    let inwards = asked(&own, &own).await.unwrap();
    assert!(format!("{inwards:?}").contains("shop/deny") || inwards.explanations[0].allowed);
    let refused = asked(&other, &other).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "of a namespace that it may not see");

    cluster.api.grants().allow(grant());
    let said = format!("{:?}", asked(&own, &other).await.unwrap());
    assert!(said.contains("bank/hidden-rules"), "with the right to see all: {said}");
}

#[tokio::test]
async fn what_is_about_all_namespaces_needs_the_right_to_all_of_them() {
    let cluster = cluster().await;
    let compiler = Compiler::start_with(&cluster, forgetful()).await;
    let token = tenant(&cluster);
    let mut client = AskServiceClient::new(compiler.dial(&cluster).await);
    cluster.api.grants().allow(grant().within("shop"));
    let mut codes = async |namespace: &str| {
        let name = || namespace.to_owned();
        let code = |status: Result<(), Status>| status.err().map_or(Code::Ok, |status| status.code());
        let policies = v1::ListPoliciesRequest { namespace: name(), name: String::new() };
        let passes = v1::ListPassesRequest { namespace: name(), since: None };
        let receipt = v1::GetReceiptRequest { namespace: name() };
        [
            code(client.list_policies(with(&token, policies)).await.map(drop)),
            code(client.list_passes(with(&token, passes)).await.map(drop)),
            code(client.get_receipt(with(&token, receipt)).await.map(drop)),
        ]
    };
    assert_eq!(codes("shop").await, [Code::Ok; 3]);
    assert_eq!(codes("bank").await, [Code::PermissionDenied; 3]);
    assert_eq!(codes("").await, [Code::PermissionDenied; 3]);
    let denied = client.list_policies(with(&token, v1::ListPoliciesRequest::default())).await.unwrap_err();
    assert!(denied.message().ends_with("; ask about one namespace with -n"), "{denied:?}");
}

#[tokio::test]
async fn nothing_of_a_question_is_read_before_it_is_known_whose_it_is() {
    let cluster = cluster().await;
    let compiler = Compiler::start_with(&cluster, forgetful()).await;
    let mut client = AskServiceClient::new(compiler.dial(&cluster).await);
    let manifest = v1::Manifest { origin: "x".repeat(100), content: vec![b'#'; 900_000].into() };
    let request = || v1::PreviewRequest { manifests: vec![manifest.clone()], delete: Vec::new() };
    let status = client.preview(Request::new(request())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let status = client.preview(with(&tenant(&cluster), request())).await.unwrap_err();
    assert_ne!(status.code(), Code::Unauthenticated, "{status:?}");
}
