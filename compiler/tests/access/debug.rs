//! What debug clients may ask.

use std::time::Duration;

use flock_compiler::access::ReviewSettings;
use flock_proto::v1::debug_service_client::DebugServiceClient;
use flock_proto::v1::{
    GetOutputRequest, GetScriptRequest, ListNodesRequest, ListProblemsRequest, WatchNodeRequest,
};
use flock_shared::access::{API_GROUP, AUDIENCE, NODE_SCRIPTS, POLICY_EXPLANATIONS};
use flock_shared::token::BearerToken;
use flock_testkit::{AccountToken, Grant, SUBJECT_ACCESS_REVIEW, Subject, Verb};
use tokio::time::timeout;
use tonic::{Code, Request, Status};

use super::cluster::{Cluster, PATIENCE};
use super::compiler::{Compiler, Setup, agents};

const VIEWER: &str = "viewer";

fn subject() -> Subject {
    Subject::account("shop", VIEWER)
}

fn grant(verb: &str, resource: &str) -> Grant {
    Grant::resource(subject(), verb, API_GROUP, resource)
}

fn viewer(cluster: &Cluster) -> BearerToken {
    cluster.issue(&AccountToken::new("shop", VIEWER).audience(AUDIENCE))
}

fn with<T>(token: Option<&BearerToken>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", token.authorization());
    }
    request
}

/// Answers are not remembered.
fn forgetful() -> Setup {
    let settings = ReviewSettings {
        again: Duration::from_millis(100),
        remembered: Duration::ZERO,
        ..ReviewSettings::new(AUDIENCE.to_owned(), agents())
    };
    Setup { settings, ..Setup::default() }
}

/// The codes of: all nodes, script of n1, output of n2, watching n1, all problems.
async fn codes(compiler: &Compiler, cluster: &Cluster, token: Option<&BearerToken>) -> [Code; 5] {
    let mut client = DebugServiceClient::new(compiler.dial(cluster).await);
    let code = |status: Result<(), Status>| status.err().map_or(Code::Ok, |status| status.code());
    let node = |name: &str| name.to_owned();
    [
        code(client.list_nodes(with(token, ListNodesRequest::default())).await.map(drop)),
        code(client.get_script(with(token, GetScriptRequest { node: node("n1") })).await.map(drop)),
        code(client.get_output(with(token, GetOutputRequest { node: node("n2") })).await.map(drop)),
        code(client.watch_node(with(token, WatchNodeRequest { node: node("n1") })).await.map(drop)),
        code(client.list_problems(with(token, ListProblemsRequest::default())).await.map(drop)),
    ]
}

#[tokio::test]
async fn each_call_needs_its_own_permission() {
    use Code::{Ok, PermissionDenied as No, Unauthenticated};
    let cluster = Cluster::start().await;
    let compiler = Compiler::start_with(&cluster, forgetful()).await;
    let token = viewer(&cluster);
    assert_eq!(codes(&compiler, &cluster, None).await, [Unauthenticated; 5]);
    let elsewhere = cluster.issue(&AccountToken::new("shop", VIEWER));
    assert_eq!(codes(&compiler, &cluster, Some(&elsewhere)).await, [Unauthenticated; 5]);
    assert_eq!(codes(&compiler, &cluster, Some(&token)).await, [No; 5]);
    assert_eq!(codes(&compiler, &cluster, Some(&cluster.token("n1"))).await, [No; 5], "agents may not look");

    let cases = [
        (grant("get", NODE_SCRIPTS).named("n1"), [No, Ok, No, No, No]),
        (grant("get", NODE_SCRIPTS), [Ok, Ok, Ok, No, No]),
        (grant("watch", NODE_SCRIPTS), [No, No, No, Ok, No]),
        (grant("get", POLICY_EXPLANATIONS), [No, No, No, No, Ok]),
        (grant("get", POLICY_EXPLANATIONS).within("shop"), [No; 5]),
    ];
    for (grant, expected) in cases {
        cluster.api.grants().clear();
        cluster.api.grants().allow(grant.clone());
        assert_eq!(codes(&compiler, &cluster, Some(&token)).await, expected, "{grant:?}");
    }
}

#[tokio::test]
async fn problems_of_a_namespace_need_permission_there() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start_with(&cluster, forgetful()).await;
    let token = viewer(&cluster);
    cluster.api.grants().allow(grant("get", POLICY_EXPLANATIONS).within("shop"));
    let mut client = DebugServiceClient::new(compiler.dial(&cluster).await);
    let mut code = async |namespace: &str| {
        let request = ListProblemsRequest { namespace: namespace.to_owned() };
        client.list_problems(with(Some(&token), request)).await.err().map(|status| status.code())
    };
    assert_eq!(code("shop").await, None);
    assert_eq!(code("bank").await, Some(Code::PermissionDenied));
    assert_eq!(code("").await, Some(Code::PermissionDenied), "all of them");
}

#[tokio::test]
async fn what_is_forbidden_is_said_in_the_words_of_rbac() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    let token = viewer(&cluster);
    let mut client = DebugServiceClient::new(compiler.dial(&cluster).await);
    let request = with(Some(&token), GetScriptRequest { node: "n1".to_owned() });
    let status = client.get_script(request).await.unwrap_err();
    let expected = r#"user "system:serviceaccount:shop:viewer" cannot get resource "nodescripts" in API group "flock.netpol" named "n1""#;
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, expected));
    assert_eq!(compiler.denied("forbidden"), 1);
    for _ in 0..5 {
        client.get_script(with(Some(&token), GetScriptRequest { node: "n1".to_owned() })).await.unwrap_err();
    }
    assert_eq!(cluster.api.requests(SUBJECT_ACCESS_REVIEW, Verb::Create), 1, "it is remembered for a while");
}

#[tokio::test]
async fn a_watch_ends_when_it_is_not_allowed_any_more() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start_with(&cluster, forgetful()).await;
    let (token, watching) = (viewer(&cluster), grant("watch", NODE_SCRIPTS).named("n1"));
    cluster.api.grants().allow(watching.clone());
    let mut client = DebugServiceClient::new(compiler.dial(&cluster).await);
    let request = with(Some(&token), WatchNodeRequest { node: "n1".to_owned() });
    let mut statuses = client.watch_node(request).await.unwrap().into_inner();
    statuses.message().await.unwrap().expect("its status");
    cluster.api.grants().withdraw(&watching);
    let ended = timeout(PATIENCE, async {
        loop {
            match statuses.message().await {
                Ok(status) => drop(status.expect("an end has a reason")),
                Err(status) => return status,
            }
        }
    });
    assert_eq!(ended.await.unwrap().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn health_and_reflection_need_no_token() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(compiler.dial(&cluster).await);
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
}
