//! Who is served as an agent, and who is not.

use std::time::Duration;

use flock_shared::access::{AGENT_ACCOUNT, AUDIENCE, NAMESPACE};
use flock_shared::token::BearerToken;
use flock_testkit::{AccountToken, Failure, POD, TOKEN_REVIEW, Verb};
use tonic::Code;

use super::cluster::Cluster;
use super::compiler::Compiler;
use super::stream::{self, refused};

#[tokio::test]
async fn an_agent_is_served_the_node_of_its_pod_and_no_other() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    let token = cluster.token("n1");
    let mut stream = stream::open(compiler.dial(&cluster).await, Some(&token), "n1").await.unwrap();
    let first = stream.take().await.unwrap();
    cluster.change();
    assert_ne!(stream.take().await.unwrap().revision, first.revision);

    let status = refused(compiler.dial(&cluster).await, Some(&token), "n2").await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(status.message(), "the agent of node n1 may not ask for node n2");
    assert_eq!(compiler.denied("wrong_node"), 1);
    cluster.change();
    stream.take().await.expect("what another stream asks for is not held against this one");
}

#[tokio::test]
async fn anybody_else_is_refused_by_what_is_wrong() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    let of = |account: AccountToken| Some(cluster.issue(&account));
    let account = |namespace: &str, name: &str| {
        AccountToken::new(namespace, name).audience(AUDIENCE).node("n1").pod("agent-n1", cluster.uid("n1"))
    };
    let unbound = || AccountToken::new(NAMESPACE, AGENT_ACCOUNT).audience(AUDIENCE);
    let expired = of(cluster.agent("n1").lifetime(Duration::ZERO));
    let deleted = of(cluster.agent("n2"));
    cluster.api.store().remove(POD, NAMESPACE, "agent-n2").unwrap();
    let opaque = Some(BearerToken::new("guessed").unwrap());
    let server = AccountToken::new(NAMESPACE, AGENT_ACCOUNT).node("n1").pod("agent-n1", cluster.uid("n1"));
    let cases = [
        ("no token", None, Code::Unauthenticated, "no_token"),
        ("a guess", opaque, Code::Unauthenticated, "not_authenticated"),
        ("the API server's audience", of(server), Code::Unauthenticated, "not_authenticated"),
        ("expired", expired, Code::Unauthenticated, "not_authenticated"),
        ("its pod is deleted", deleted, Code::Unauthenticated, "not_authenticated"),
        ("another name", of(account(NAMESPACE, "default")), Code::PermissionDenied, "not_the_agent"),
        ("bound to no pod", of(unbound()), Code::PermissionDenied, "no_node"),
    ];
    for (case, token, code, kind) in cases {
        let before = compiler.denied(kind);
        let status = refused(compiler.dial(&cluster).await, token.as_ref(), "n1").await;
        assert_eq!(status.code(), code, "{case}: {status:?}");
        assert_eq!(compiler.denied(kind), before + 1, "{case}");
        if let Some(token) = token {
            let shown = format!("{status:?}{}", compiler.metrics.text());
            assert!(!shown.contains(token.secret()), "{case}");
        }
    }
}

#[tokio::test]
async fn a_namesake_in_another_namespace_is_not_the_agent() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    let token = cluster.issue(&AccountToken::new("shop", AGENT_ACCOUNT).audience(AUDIENCE).node("n1"));
    let status = refused(compiler.dial(&cluster).await, Some(&token), "n1").await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("is not the agents' ServiceAccount flock-system/"), "{status:?}");
}

#[tokio::test]
async fn an_answer_counts_for_those_who_come_soon_with_the_same_token() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    let token = cluster.token("n1");
    let channel = compiler.dial(&cluster).await;
    for _ in 0..20 {
        let mut stream = stream::open(channel.clone(), Some(&token), "n1").await.unwrap();
        stream.take().await.unwrap();
    }
    assert_eq!(cluster.api.requests(TOKEN_REVIEW, Verb::Create), 1);
    let other = cluster.token("n1");
    stream::open(channel, Some(&other), "n1").await.unwrap().take().await.unwrap();
    assert_eq!(cluster.api.requests(TOKEN_REVIEW, Verb::Create), 2);
}

#[tokio::test]
async fn while_reviews_fail_who_is_in_stays_in_and_nobody_comes_in() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    let token = cluster.token("n1");
    let mut stream = stream::open(compiler.dial(&cluster).await, Some(&token), "n1").await.unwrap();
    stream.take().await.unwrap();

    let failure = Failure { code: 500, retry_after: None };
    cluster.api.faults().fail(TOKEN_REVIEW, Verb::Create, failure, usize::MAX);
    let other = cluster.token("n2");
    let status = refused(compiler.dial(&cluster).await, Some(&other), "n2").await;
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(compiler.denied("unreviewed"), 1);
    cluster.change();
    stream.take().await.expect("the stream goes on");

    cluster.api.faults().mend();
    let mut served = stream::open(compiler.dial(&cluster).await, Some(&other), "n2").await.unwrap();
    served.take().await.expect("a failure is not remembered");
}
