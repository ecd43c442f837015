//! What probes are told, and that nobody and nothing holds up the answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use flock_node_agent::health::HealthListen;
use flock_node_agent::nft::Nft;
use flock_node_agent::run::Config;
use flock_node_agent::runner::Until;
use flock_node_agent::state::StateDir;
use flock_proto::{Outcome, v1};
use flock_shared::NodeName;
use flock_testkit::compiler::{FakeCompiler, patiently};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::Status;

use crate::fake_nft::{Behaviour, FakeNft};
use crate::saved::journal;
use crate::stream::{Agent, NEVER, config, start};
use crate::survival::leap;
use crate::updates::{full, revision};

/// An address that no other test listens at, nor another run of them.
pub(crate) fn address() -> SocketAddr {
    static COUNTER: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, 64 | high & 63, low, COUNTER.fetch_add(1, Ordering::Relaxed)), 7445).into()
}

pub(crate) fn listen(address: SocketAddr) -> HealthListen {
    address.to_string().parse().unwrap()
}

/// What is answered to a request; `None`: nobody listens.
async fn asked(address: SocketAddr, request: &str) -> Option<(u16, String)> {
    patiently(async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: node\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Some((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
    })
    .await
}

/// What a probe is told.
pub(crate) async fn probe(address: SocketAddr, path: &str) -> (u16, String) {
    asked(address, &format!("GET {path}")).await.expect("nobody listens")
}

/// Waits until the first line of what readiness is told has these words.
async fn told(address: SocketAddr, status: u16, words: &str) -> String {
    let mut last = None;
    for _ in 0..3000 {
        last = asked(address, "GET /readyz").await;
        if let Some((answered, body)) = &last
            && *answered == status
            && body.lines().next().is_some_and(|line| line.contains(words))
        {
            return body.clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{status} {words:?} was never told; last: {last:?}");
}

fn save(folder: &Path, names: &[&str]) {
    let dir = StateDir::open(folder, &NodeName::new("n1").unwrap()).unwrap();
    dir.store(&journal(names), None).unwrap();
}

#[tokio::test]
async fn readiness_is_whether_what_the_compiler_sent_last_is_in_force() {
    let address = address();
    let (_compiler, nft, agent, mut session) = start(|config| config.health_listen = listen(address)).await;
    told(address, 503, "nothing is in force, and no compiler has sent anything (connected)").await;

    session.apply(full("a")).await;
    let (status, body) = probe(address, "/readyz").await;
    assert_eq!(status, 200, "{body}");
    assert!(
        body.starts_with(&format!("ready\nin force: {}\ncompiler: connected\n", revision("a"))),
        "{body}"
    );

    nft.behave(Behaviour::Fail);
    assert_eq!(session.ask(full("b")).await.outcome, Outcome::NftFailed);
    let (status, body) = probe(address, "/readyz").await;
    assert_eq!(status, 503);
    assert!(
        body.contains(&format!("not applied: {} (", revision("b"))) && body.contains("on purpose"),
        "{body}"
    );
    assert!(body.contains(&format!("\nin force: {}\n", revision("a"))), "what stood stands: {body}");
    nft.behave(Behaviour::Take);
    session.apply(full("c")).await;
    assert_eq!(probe(address, "/readyz").await.0, 200);

    let changed = v1::Update { script: "flush ruleset\n".into(), ..full("d") };
    assert_eq!(session.ask(changed).await.outcome, Outcome::HashMismatch);
    assert_eq!(probe(address, "/readyz").await.0, 503);
    session.apply(v1::Update { closed: true, ..full("d") }).await;
    told(address, 503, "its closed form stands").await;
    session.apply(full("e")).await;
    assert_eq!(probe(address, "/readyz").await.0, 200);

    for (request, status) in [
        ("GET /healthz", 200),
        ("HEAD /healthz", 200),
        ("HEAD /readyz", 200),
        ("POST /readyz", 405),
        ("GET /metrics", 404),
        ("GET", 400),
    ] {
        assert_eq!(asked(address, request).await.unwrap().0, status, "{request}");
    }
    agent.stop().await;
    assert_eq!(asked(address, "GET /healthz").await, None, "it ends with the agent");
}

#[tokio::test]
async fn a_table_that_is_lost_and_not_put_back_is_told_until_it_is() {
    let address = address();
    let (_compiler, nft, agent, mut session) = start(|config| config.health_listen = listen(address)).await;
    session.apply(full("a")).await;
    nft.behave(Behaviour::Fail);
    nft.lose(&revision("a"));
    leap(NEVER).await;
    let body = told(address, 503, "on purpose").await;
    assert!(body.contains("is not put back yet: ") && body.contains("\nin force: none\n"), "{body}");
    nft.behave(Behaviour::Take);
    leap(Duration::from_secs(30)).await;
    told(address, 200, "ready").await;
    agent.stop().await;
}

#[tokio::test]
async fn what_was_saved_is_ready_where_no_compiler_answers() {
    let (folder, address, nft) = (tempfile::tempdir().unwrap(), address(), FakeNft::new());
    save(folder.path(), &["a"]);
    let gone = FakeCompiler::start().await;
    let alone = Config {
        state_dir: Some(folder.path().into()),
        health_listen: listen(address),
        ..config(&gone, &nft.command())
    };
    gone.stop().await;
    let agent = Agent::start(alone.clone());
    let body = told(address, 200, "ready").await;
    assert!(body.contains(&revision("a").to_string()) && body.contains("\ncompiler: away: "), "{body}");
    agent.stop().await;

    nft.behave(Behaviour::Fail);
    let agent = Agent::start(alone);
    let body = told(address, 503, "what was saved is not put back").await;
    assert!(body.contains("on purpose"), "{body}");
    assert_eq!(probe(address, "/healthz").await.0, 200, "to start it again would mend nothing");
    agent.stop().await;
}

#[tokio::test]
async fn what_was_saved_waits_for_the_compiler_for_a_while_and_for_one_that_refuses() {
    let (folder, address) = (tempfile::tempdir().unwrap(), address());
    save(folder.path(), &["a"]);
    let (mut compiler, _nft, agent, session) = start(|config| {
        config.state_dir = Some(folder.path().into());
        config.health_listen = listen(address);
    })
    .await;
    told(address, 503, "the compiler is being asked").await;
    leap(Duration::from_secs(10)).await;
    told(address, 200, "ready").await;

    session.fail_with(Status::permission_denied("no such agent")).await;
    let body = told(address, 503, "the compiler refuses this agent: PermissionDenied: ").await;
    assert!(body.contains("no such agent"), "{body}");
    let mut session = compiler.session().await;
    session.apply(full("b")).await;
    assert_eq!(probe(address, "/readyz").await.0, 200);

    // From here on a compiler that is away, or refuses, takes nothing back.
    session.fail_with(Status::unauthenticated("expired")).await;
    let body = told(address, 200, "ready").await;
    assert!(body.contains("\ncompiler: "), "{body}");
    compiler.stop().await;
    told(address, 200, "ready").await;
    agent.stop().await;
}

#[tokio::test]
async fn an_nft_that_hangs_is_told_and_does_not_end_the_agent() {
    let address = address();
    let (_compiler, nft, agent, mut session) = start(|config| config.health_listen = listen(address)).await;
    session.apply(full("a")).await;
    nft.behave(Behaviour::Hang);
    session.send(full("b")).await;
    patiently(async {
        while nft.runs() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(probe(address, "/healthz").await, (200, "ok\n".to_owned()));
    leap(Duration::from_secs(60)).await;
    told(address, 503, "nft has been at a script for 6").await;
    assert_eq!(probe(address, "/healthz").await.0, 200);
    leap(NEVER).await;
    assert_eq!(session.ack().await.outcome, Outcome::NftTimedOut);
    told(address, 503, "was not applied").await;
    nft.behave(Behaviour::Take);
    agent.stop().await;
}

/// Far more than are held, and than the agent could answer by waiting for their ends.
const SILENT: usize = 200;

#[tokio::test]
async fn a_flood_of_silent_connections_leaves_probes_answered() {
    let address = address();
    let (_compiler, _nft, agent, mut session) = start(|config| config.health_listen = listen(address)).await;
    session.apply(full("a")).await;
    told(address, 200, "ready").await;
    let mut silent = Vec::new();
    for number in 0..SILENT {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: ").await.unwrap();
        }
        silent.push(stream);
    }
    assert_eq!(probe(address, "/healthz").await.0, 200);
    assert_eq!(probe(address, "/readyz").await.0, 200);
    // The newest are still open, so nothing was waited for; the oldest are not, so they are bounded.
    let mut byte = [0];
    let newest = silent.last().unwrap().try_read(&mut byte);
    assert_eq!(newest.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert!(matches!(patiently(silent[0].read(&mut byte)).await, Ok(0) | Err(_)));
    agent.stop().await;
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off() {
    let address = address();
    let (_compiler, _nft, agent, _session) = start(|config| config.health_listen = listen(address)).await;
    told(address, 503, "nothing").await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\n").await.unwrap();
    // Beyond what is read; what comes after the end is of no interest.
    let _ = patiently(stream.write_all(&vec![b'x'; 1 << 20])).await;
    let mut rest = Vec::new();
    let _ = patiently(stream.read_to_end(&mut rest)).await;
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4"), "{rest}");
    assert_eq!(probe(address, "/healthz").await.0, 200);
    agent.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_stops_nothing_and_is_had_once_it_is_free() {
    let address = address();
    let taken = TcpListener::bind(address).await.unwrap();
    let (_compiler, nft, agent, mut session) = start(|config| config.health_listen = listen(address)).await;
    session.apply(full("a")).await;
    assert!(nft.holds(&revision("a")));
    drop(taken);
    told(address, 200, "ready").await;
    agent.stop().await;
}

#[tokio::test]
async fn an_agent_that_applies_one_update_listens_nowhere() {
    let (mut compiler, nft, address) = (FakeCompiler::start().await, FakeNft::new(), address());
    let once = Config {
        until: Until::FirstUpdate,
        health_listen: listen(address),
        nft: Nft::new(nft.command().parse().unwrap(), NEVER),
        ..config(&compiler, "nft")
    };
    let agent = Agent::start(once);
    let mut session = compiler.session().await;
    assert_eq!(asked(address, "GET /healthz").await, None);
    session.apply(full("a")).await;
    assert_eq!(agent.end().await, Ok(()));
}
