//! Those who do not speak TLS, do not finish, do not show who they are: bounded, refused, and nobody else's concern.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use flock_compiler::listen::PreAuthLimiter;
use flock_compiler::service::Limits;
use flock_shared::token::BearerToken;
use flock_testkit::agent::FakeAgent;
use flock_testkit::{TOKEN_REVIEW, Verb};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tonic::Code;

use super::cluster::{Cluster, PATIENCE, until};
use super::compiler::{Compiler, Setup};
use super::stream::{self, refused};

/// Another address of this host than agents have.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(to).await
}

/// Waits until the other side has closed a connection; what came before.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end too.
    drop(timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("it is closed"));
    bytes
}

/// An agent that is served while others misbehave.
async fn served(compiler: &Compiler, cluster: &Cluster) -> FakeAgent {
    let token = cluster.token("n1");
    let mut stream = stream::open(compiler.dial(cluster).await, Some(&token), "n1").await.unwrap();
    stream.take().await.unwrap();
    stream
}

#[tokio::test]
async fn plain_text_is_refused() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    let http1 = b"GET /metrics HTTP/1.1\r\nhost: compiler\r\n\r\n";
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (count, words) in [(1, &http1[..]), (2, &http2[..])] {
        let mut stream = TcpStream::connect(compiler.address).await.unwrap();
        stream.write_all(words).await.unwrap();
        let answer = closed(&mut stream).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        until("it is counted", || compiler.denied("not_tls") == count).await;
    }
    served(&compiler, &cluster).await;
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_is_in_nobodys_way() {
    let cluster = Cluster::start().await;
    let setup = Setup { handshake: Duration::from_secs(2), ..Setup::default() };
    let compiler = Compiler::start_with(&cluster, setup).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(connect(ELSEWHERE, compiler.address).await.unwrap());
    }
    let mut agent = served(&compiler, &cluster).await;
    // The beginning of a handshake, a byte now and then.
    let mut slow = TcpStream::connect(compiler.address).await.unwrap();
    for byte in [0x16, 0x03, 0x01, 0x02] {
        slow.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for stream in silent.iter_mut().chain([&mut slow]) {
        assert_eq!(closed(stream).await, b"");
    }
    until("all are counted", || compiler.denied("handshake_timed_out") == 101).await;
    cluster.change();
    agent.take().await.unwrap();
}

#[tokio::test]
async fn ten_thousand_connections_without_a_token_are_bounded() {
    let cluster = Cluster::start().await;
    let limiter = PreAuthLimiter::new(1000, 64);
    let limits = Limits { authentication: Duration::from_secs(1), ..Limits::default() };
    let compiler = Compiler::start_with(&cluster, Setup { limiter, limits, ..Setup::default() }).await;
    let mut agent = served(&compiler, &cluster).await;
    let crowding = || compiler.metric("flock_compiler_dropped_total{what=\"crowding\"}");
    let mut turned_away = 0;
    for wave in 0..100 {
        let mut flood = Vec::new();
        for _ in 0..100 {
            // Refused is what it should come to.
            flood.extend(connect(ELSEWHERE, compiler.address).await.ok());
        }
        // Of an address 64 are let in at most, so at least 36 of these lose their places at once.
        until("most have to go", || crowding() >= turned_away + 36).await;
        turned_away = crowding();
        if wave % 10 == 0 {
            cluster.change();
            agent.take().await.expect("who is known is served");
            served(&compiler, &cluster).await;
        }
    }
    assert!(turned_away >= 3600, "{turned_away}");
}

#[tokio::test]
async fn guesses_on_one_connection_are_worth_one_review() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    let channel = compiler.dial(&cluster).await;
    for guess in 0..20 {
        let token = BearerToken::new(&format!("guess-{guess}")).unwrap();
        assert_eq!(refused(channel.clone(), Some(&token), "n1").await.code(), Code::Unauthenticated);
    }
    assert_eq!(cluster.api.requests(TOKEN_REVIEW, Verb::Create), 1);
    served(&compiler, &cluster).await;
}

#[tokio::test]
async fn an_agent_gets_in_where_its_address_is_crowded() {
    let cluster = Cluster::start().await;
    let limiter = PreAuthLimiter::new(1000, 8);
    let compiler = Compiler::start_with(&cluster, Setup { limiter, ..Setup::default() }).await;
    let mut crowd = Vec::new();
    for _ in 0..50 {
        crowd.push(connect(Ipv4Addr::LOCALHOST, compiler.address).await.unwrap());
    }
    let crowding = || compiler.metric("flock_compiler_dropped_total{what=\"crowding\"}");
    // Eight of those that are kept for this machine, and eight of all others.
    until("all but sixteen have lost their places", || crowding() == 34).await;
    for _ in 0..5 {
        served(&compiler, &cluster).await;
    }
}

#[tokio::test]
async fn a_connection_without_a_token_ends_soon_and_one_with_a_token_goes_on() {
    let cluster = Cluster::start().await;
    let limits =
        Limits { authentication: Duration::from_secs(1), hello: Duration::from_secs(2), ..Limits::default() };
    let compiler = Compiler::start_with(&cluster, Setup { limits, ..Setup::default() }).await;
    let mut agent = served(&compiler, &cluster).await;
    let token = cluster.token("n1");
    let channel = compiler.dial(&cluster).await;
    assert_eq!(refused(channel.clone(), None, "n1").await.code(), Code::Unauthenticated);
    let dropped = || compiler.metric("flock_compiler_dropped_total{what=\"strangers\"}");
    until("the connection is closed", || dropped() == 1).await;

    // A token, and then not a word.
    let mut silent = FakeAgent::silent(compiler.dial(&cluster).await, Some(&token)).await.unwrap();
    assert_eq!(silent.broken().await.code(), Code::DeadlineExceeded);
    cluster.change();
    agent.take().await.unwrap();
    assert_eq!(dropped(), 1);
}
