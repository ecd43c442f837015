//! A replica that hears nothing: of a server that is away it serves on, where it alone hears nothing it does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flock_compiler::access::Access;
use flock_compiler::admin::{self, Pages};
use flock_compiler::engine::Engine;
use flock_compiler::listen;
use flock_compiler::metrics::Metrics;
use flock_compiler::service::Context;
use flock_compiler::source::Source as _;
use flock_compiler::source::kubernetes::{KubernetesSource, ProbeSettings, Statistics, anonymous, client};
use flock_convert::HostInterfaces;
use flock_testkit::{AccountToken, ApiServer, Failure, Settings, Verb, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::harness::{WATCHED, settings};

const BLIND: Duration = Duration::from_millis(300);

struct Replica {
    statistics: Arc<Statistics>,
    /// Of its admin port.
    address: SocketAddr,
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Replica {
    /// One that has listed everything, with the rights of a token.
    async fn start(server: &ApiServer, token: Option<&str>) -> Self {
        let mut config = server.config();
        config.auth_info.token = token.map(|token| token.to_owned().into());
        let when = ProbeSettings { blind: BLIND, every: Duration::from_millis(50) };
        let asking = client(config.clone()).unwrap();
        let source = KubernetesSource::with_settings(asking, HostInterfaces::None, settings())
            .with_probe(anonymous(config).unwrap(), when);
        let statistics = source.statistics();
        let (events, incoming) = mpsc::channel(64);
        let metrics = Arc::new(Metrics::with_watches(Arc::clone(&statistics)));
        let (engine, handle) = Engine::new(Arc::clone(&metrics));
        let (stop, stopping) = watch::channel(false);
        let context = Context::in_memory(handle, metrics, stopping);
        let pages = Pages { context, access: Access::Open, certificate: None };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async { source.run(events).await.unwrap() });
        tasks.spawn(async { engine.run(incoming).await.unwrap() });
        tasks.spawn(async { admin::serve(listen::plain(listener), pages).await.unwrap() });
        let all = || statistics.kinds().iter().all(|(_, kind)| kind.watching());
        wait_until("all kinds are watched", all).await.unwrap();
        let replica = Self { statistics, address, _stop: stop, _tasks: tasks };
        assert_eq!(replica.readyz().await.0, 200);
        replica
    }

    /// What kubelet is told.
    async fn readyz(&self) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: compiler\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn is_alone(&self) {
        wait_until("it has found out", || self.statistics.is_alone()).await.unwrap();
        let (status, body) = self.readyz().await;
        assert!(status == 503 && body.contains("this replica alone"), "{status} {body}");
        assert!(body.contains("Pod: heard of "), "{body}");
    }

    /// It has heard nothing for much longer than it takes to find out, and several looks have told it that it is not alone.
    async fn is_not_alone(&self, why: &str) {
        let is_blind = || self.statistics.pods.age().is_some_and(|age| age > 3 * BLIND);
        wait_until("it is blind", || is_blind() || self.statistics.is_alone()).await.unwrap();
        assert!(!self.statistics.is_alone(), "{why}");
        assert_eq!(self.readyz().await.0, 200, "{why}");
    }
}

fn end_watches(server: &ApiServer) {
    WATCHED.iter().for_each(|kind| server.store().end_watches(*kind));
}

#[tokio::test]
async fn a_token_that_does_not_count_any_more_is_its_own_fault() {
    let server = ApiServer::start_with(Settings { closed: true, ..Settings::default() }).await.unwrap();
    let token = server.identities().issue(&AccountToken::new("flock", "compiler"));
    let replica = Replica::start(&server, Some(&token)).await;
    assert!(!replica.statistics.is_alone());
    server.identities().revoke(&token);
    end_watches(&server);
    replica.is_alone().await;
}

#[tokio::test]
async fn a_server_that_is_away_is_away_for_all() {
    let server = ApiServer::start().await.unwrap();
    let replica = Replica::start(&server, None).await;
    server.go_away();
    replica.is_not_alone("nothing answers").await;
    server.come_back();
    wait_until("it hears again", || replica.statistics.pods.age().is_some_and(|age| age < BLIND))
        .await
        .unwrap();
    assert!(!replica.statistics.is_alone());
}

#[tokio::test]
async fn what_the_server_answers_one_it_answers_all() {
    for code in [403, 429, 500, 503] {
        let server = ApiServer::start().await.unwrap();
        let replica = Replica::start(&server, None).await;
        for kind in WATCHED {
            for verb in [Verb::List, Verb::Watch] {
                server.faults().fail(kind, verb, Failure { code, retry_after: None }, 1_000_000);
            }
        }
        end_watches(&server);
        replica.is_not_alone(&code.to_string()).await;
    }
}

#[tokio::test]
async fn who_hears_again_is_not_alone_any_more() {
    let server = ApiServer::start().await.unwrap();
    let replica = Replica::start(&server, None).await;
    let unknown = Failure { code: 401, retry_after: None };
    for kind in WATCHED {
        for verb in [Verb::List, Verb::Watch] {
            server.faults().fail(kind, verb, unknown.clone(), 1_000_000);
        }
    }
    end_watches(&server);
    replica.is_alone().await;
    server.faults().mend();
    wait_until("it is one of many", || !replica.statistics.is_alone()).await.unwrap();
}
