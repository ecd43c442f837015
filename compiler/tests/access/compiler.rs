//! A compiler that follows the cluster, with certificates of its own, on a socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flock_compiler::access::{Access, ReviewSettings, Reviews, ServiceAccount};
use flock_compiler::engine::Engine;
use flock_compiler::listen::{self, PreAuthLimiter, TlsSettings};
use flock_compiler::metrics::Metrics;
use flock_compiler::service::{self, Context, Limits};
use flock_compiler::source::Source;
use flock_compiler::source::kubernetes::{KubernetesSource, client};
use flock_compiler::tls::Certificate;
use flock_compiler::tls::own::{CertificateLocation, CertificateManager, Lifetimes};
use flock_convert::HostInterfaces;
use flock_shared::access::{AGENT_ACCOUNT, AUDIENCE, CA_CONFIG_MAP, CA_KEY, NAMESPACE, TLS_SECRET};
use flock_shared::dial::{self, CompilerUrl, DialError, Trust};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;

use super::cluster::{Cluster, NAME, names};

/// How a compiler is set up.
pub(super) struct Setup {
    pub(super) settings: ReviewSettings,
    pub(super) limits: Limits,
    pub(super) handshake: Duration,
    pub(super) limiter: PreAuthLimiter,
    pub(super) lifetimes: Lifetimes,
    /// How often certificates are looked after.
    pub(super) every: Duration,
}

/// Dropping it ends all of it.
pub(super) struct Compiler {
    pub(super) address: SocketAddr,
    pub(super) metrics: Arc<Metrics>,
    pub(super) context: Context,
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

/// Whose tokens are agents'.
pub(super) fn agents() -> ServiceAccount {
    format!("{NAMESPACE}/{AGENT_ACCOUNT}").parse().unwrap()
}

/// Where certificates are.
pub(super) fn location() -> CertificateLocation {
    CertificateLocation {
        namespace: NAMESPACE.parse().unwrap(),
        secret: TLS_SECRET.parse().unwrap(),
        config_map: CA_CONFIG_MAP.parse().unwrap(),
        key: CA_KEY.to_owned(),
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            settings: ReviewSettings::new(AUDIENCE.to_owned(), agents()),
            limits: Limits::default(),
            handshake: Duration::from_secs(10),
            limiter: PreAuthLimiter::default(),
            lifetimes: Lifetimes::default(),
            every: Duration::from_secs(60),
        }
    }
}

impl Compiler {
    /// One that is ready, and has published its authority.
    pub(super) async fn start(cluster: &Cluster) -> Self {
        Self::start_with(cluster, Setup::default()).await
    }

    pub(super) async fn start_with(cluster: &Cluster, setup: Setup) -> Self {
        let client = client(cluster.api.config()).unwrap();
        let metrics = Arc::new(Metrics::default());
        let certificate = Certificate::default();
        let mut manager =
            CertificateManager::new(&client, location(), names(), certificate.clone(), Arc::clone(&metrics))
                .with_lifetimes(setup.lifetimes, setup.every);
        manager.look().await.unwrap();
        let reviews = Reviews::new(client.clone(), setup.settings, Arc::clone(&metrics));
        let (engine, handle) = Engine::new(Arc::clone(&metrics));
        let (events, incoming) = mpsc::channel(64);
        let (stop, stopping) = watch::channel(false);
        let context = Context {
            access: Access::Reviewed(Arc::new(reviews)),
            limits: setup.limits,
            ..Context::in_memory(handle.clone(), Arc::clone(&metrics), stopping)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let secured = TlsSettings {
            config: certificate.server_config(&[b"h2"]).unwrap(),
            limiter: setup.limiter,
            limit: setup.handshake,
            metrics: Arc::clone(&metrics),
        };
        let source = KubernetesSource::new(client, HostInterfaces::None);
        let mut tasks = JoinSet::new();
        tasks.spawn(manager.keep());
        tasks.spawn(async { source.run(events).await.unwrap() });
        tasks.spawn(async { engine.run(incoming).await.unwrap() });
        let connections = listen::tls(listener, secured);
        let serving = context.clone();
        tasks.spawn(async { service::serve(connections, serving, std::future::pending()).await.unwrap() });
        handle.readiness().wait_for(|ready| *ready).await.unwrap();
        Self { address, metrics, context, _stop: stop, _tasks: tasks }
    }

    /// A connection, by a client that trusts what is published.
    pub(super) async fn dial(&self, cluster: &Cluster) -> Channel {
        self.try_dial(&Trust { ca_file: cluster.ca_file(), server_name: Some(NAME.to_owned()) })
            .await
            .unwrap()
    }

    pub(super) async fn try_dial(&self, trust: &Trust) -> Result<Channel, DialError> {
        let url: CompilerUrl = format!("https://{}", self.address).parse().unwrap();
        dial::connect(&url, Some(trust)).await
    }

    /// How many were denied for a reason.
    pub(super) fn denied(&self, why: &str) -> u64 {
        self.metric(&format!("flock_compiler_denied_total{{why=\"{why}\"}}"))
    }

    /// The value of a series of `/metrics`; 0 if there is none.
    pub(super) fn metric(&self, series: &str) -> u64 {
        let text = self.metrics.text();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }
}

/// A connection after its handshake, by a client that trusts what is published and speaks one of `protocols`.
pub(super) async fn tls(address: SocketAddr, cluster: &Cluster, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
    try_tls(address, cluster, protocols).await.unwrap()
}

/// The same, which may fail.
pub(super) async fn try_tls(
    address: SocketAddr,
    cluster: &Cluster,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    tls_by(address, &cluster.bundle(), NAME, protocols).await
}

/// The same, by a client that trusts the authorities of `bundle` to name a server `name`.
pub(super) async fn tls_by(
    address: SocketAddr,
    bundle: &str,
    name: &'static str,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(bundle.as_bytes()).map(Result::unwrap));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}
