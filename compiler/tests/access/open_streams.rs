//! An open stream is reviewed again, and ends when its token does.

use std::time::Duration;

use flock_compiler::access::ReviewSettings;
use flock_compiler::service::Limits;
use flock_shared::access::{AUDIENCE, NAMESPACE};
use flock_testkit::{Failure, POD, TOKEN_REVIEW, Verb};
use tonic::Code;

use super::cluster::{Cluster, until};
use super::compiler::{Compiler, Setup, agents};
use super::stream;

/// Reviews come one after the other.
fn often() -> Setup {
    let settings = ReviewSettings {
        again: Duration::from_millis(100),
        retry: Duration::from_millis(100),
        remembered: Duration::ZERO,
        ..ReviewSettings::new(AUDIENCE.to_owned(), agents())
    };
    Setup { settings, ..Setup::default() }
}

#[tokio::test]
async fn a_stream_ends_when_its_token_does() {
    let cluster = Cluster::start().await;
    // The next review but for that would be in minutes.
    let compiler = Compiler::start(&cluster).await;
    let token = cluster.issue(&cluster.agent("n1").lifetime(Duration::from_secs(2)));
    let mut stream = stream::open(compiler.dial(&cluster).await, Some(&token), "n1").await.unwrap();
    let status = stream.broken().await;
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("expired"), "{status:?}");

    let renewed = cluster.token("n1");
    stream::open(compiler.dial(&cluster).await, Some(&renewed), "n1").await.unwrap().take().await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_when_the_pod_of_its_token_is_gone() {
    let cluster = Cluster::start().await;
    let limits = Limits { authentication: Duration::from_secs(1), ..Limits::default() };
    let compiler = Compiler::start_with(&cluster, Setup { limits, ..often() }).await;
    let token = cluster.token("n1");
    let mut stream = stream::open(compiler.dial(&cluster).await, Some(&token), "n1").await.unwrap();
    stream.take().await.unwrap();
    let reviews = || cluster.api.requests(TOKEN_REVIEW, Verb::Create);
    until("it is reviewed again and again", || reviews() > 3).await;
    cluster.change();
    stream.take().await.expect("and goes on");
    cluster.api.store().remove(POD, NAMESPACE, "agent-n1").unwrap();
    let status = stream.broken().await;
    assert_eq!((status.code(), compiler.denied("not_authenticated")), (Code::Unauthenticated, 1));
    let closed = || compiler.metric("flock_compiler_dropped_total{what=\"strangers\"}") == 1;
    until("its connection ends too", closed).await;
}

#[tokio::test]
async fn a_stream_survives_reviews_that_fail_even_past_the_end_of_its_token() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start_with(&cluster, often()).await;
    let token = cluster.issue(&cluster.agent("n1").lifetime(Duration::from_secs(3600)));
    let mut stream = stream::open(compiler.dial(&cluster).await, Some(&token), "n1").await.unwrap();
    stream.take().await.unwrap();
    let failure = Failure { code: 503, retry_after: None };
    cluster.api.faults().fail(TOKEN_REVIEW, Verb::Create, failure, usize::MAX);
    cluster.api.identities().advance(Duration::from_secs(7200));
    let before = cluster.api.requests(TOKEN_REVIEW, Verb::Create);
    until("reviews fail", || cluster.api.requests(TOKEN_REVIEW, Verb::Create) > before + 3).await;
    cluster.change();
    stream.take().await.expect("nobody has said that it ends");
    cluster.api.faults().mend();
    assert_eq!(stream.broken().await.code(), Code::Unauthenticated, "now somebody has");
}
