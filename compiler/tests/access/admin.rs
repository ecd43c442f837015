//! The admin port beyond loopback: probes are for everybody, metrics for whoever may read them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flock_compiler::access::{Access, ReviewSettings, Reviews};
use flock_compiler::admin::{self, Pages};
use flock_compiler::engine::Engine;
use flock_compiler::listen::{self, PreAuthLimiter, TlsSettings};
use flock_compiler::metrics::Metrics;
use flock_compiler::service::Context;
use flock_compiler::source::kubernetes::client;
use flock_compiler::tls::own::CertificateManager;
use flock_compiler::tls::{Certificate, nobody};
use flock_shared::access::AUDIENCE;
use flock_testkit::{AccountToken, Grant, Subject};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use super::cluster::{Cluster, names};
use super::compiler::{agents, location, tls, tls_by};

pub(super) struct Admin {
    pub(super) address: SocketAddr,
    pub(super) manager: CertificateManager,
    /// What is shown before there is a certificate.
    nobody: String,
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Admin {
    /// Pages of an engine that has listed nothing, without a certificate yet.
    async fn start(cluster: &Cluster) -> Self {
        Self::start_with(cluster, PreAuthLimiter::default(), Duration::from_secs(10)).await
    }

    pub(super) async fn start_with(cluster: &Cluster, limiter: PreAuthLimiter, handshake: Duration) -> Self {
        let (client, metrics) = (client(cluster.api.config()).unwrap(), Arc::new(Metrics::default()));
        let certificate = Certificate::default();
        let (nobody, nobody_pem) = nobody::certificate().unwrap();
        let manager =
            CertificateManager::new(&client, location(), names(), certificate.clone(), Arc::clone(&metrics));
        let (engine, handle) = Engine::new(Arc::clone(&metrics));
        let (events, incoming) = mpsc::channel(1);
        let (stop, stopping) = watch::channel(false);
        let settings = ReviewSettings::new(AUDIENCE.to_owned(), agents());
        let access = Access::Reviewed(Arc::new(Reviews::new(client, settings, Arc::clone(&metrics))));
        let context =
            Context { access: access.clone(), ..Context::in_memory(handle, Arc::clone(&metrics), stopping) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let secured = TlsSettings {
            config: certificate.server_config_or(nobody, &[b"http/1.1"]).unwrap(),
            limiter,
            limit: handshake,
            metrics,
        };
        let pages = Pages { context, access, certificate: Some(certificate) };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _keeps_the_engine = events;
            engine.run(incoming).await.unwrap();
        });
        tasks.spawn(async { admin::serve(listen::tls(listener, secured), pages).await.unwrap() });
        Self { address, manager, nobody: nobody_pem, _stop: stop, _tasks: tasks }
    }

    /// Status and body of a page.
    async fn get(&self, cluster: &Cluster, path: &str, token: Option<&str>) -> (u16, String) {
        let stream = tls(self.address, cluster, &[]).await;
        Self::page(stream, path, token).await
    }

    async fn page(mut stream: TlsStream<TcpStream>, path: &str, token: Option<&str>) -> (u16, String) {
        let header = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
        let request = format!("GET {path} HTTP/1.1\r\nhost: compiler\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

#[tokio::test]
async fn probes_are_for_everybody_and_metrics_are_not() {
    let cluster = Cluster::start().await;
    let mut admin = Admin::start(&cluster).await;
    admin.manager.look().await.unwrap();
    assert_eq!(admin.get(&cluster, "/healthz", None).await.0, 200);
    assert_eq!(admin.get(&cluster, "/readyz", None).await.0, 503, "nothing is listed yet");
    assert_eq!(admin.get(&cluster, "/metrics", None).await.0, 401);
    assert_eq!(admin.get(&cluster, "/metrics", Some("guessed")).await.0, 401);
    // Those who scrape bring the token that they have for the API server.
    let token = cluster.api.identities().issue(&AccountToken::new("monitoring", "prometheus"));
    let (status, body) = admin.get(&cluster, "/metrics", Some(&token)).await;
    assert_eq!(status, 403, "{body}");
    assert!(body.contains(r#"cannot get path "/metrics""#) && !body.contains(&token), "{body}");

    let prometheus = Subject::account("monitoring", "prometheus");
    let other = cluster.api.identities().issue(&AccountToken::new("monitoring", "prometheus"));
    cluster.api.grants().allow(Grant::path(prometheus, "get", "/metrics"));
    let (status, body) = admin.get(&cluster, "/metrics", Some(&other)).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("flock_compiler_denied_total{why=\"no_token\"} 1"), "{body}");
}

/// A compiler that waits for its API server has no certificate, and is not to be started again for that.
#[tokio::test]
async fn probes_are_answered_before_there_is_a_certificate() {
    let cluster = Cluster::start().await;
    let mut admin = Admin::start(&cluster).await;
    let by_nobody = || tls_by(admin.address, &admin.nobody, nobody::NAME, &[]);
    let page = async |path| Admin::page(by_nobody().await.unwrap(), path, None).await;
    assert_eq!(page("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(page("/readyz").await.0, 503);
    assert_eq!(page("/metrics").await.0, 401);
    admin.manager.look().await.unwrap();
    assert!(tls_by(admin.address, &admin.nobody, nobody::NAME, &[]).await.is_err(), "the real one is shown");
    assert_eq!(admin.get(&cluster, "/healthz", None).await.0, 200);
}
