//! The fleet beyond loopback, as far as a bench goes: an API server that takes its time to review each token, agents with
//! tokens of their own, and a compiler with certificates of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use flock_compiler::access::{Access, ReviewSettings, Reviews, ServiceAccount};
use flock_compiler::listen::{PreAuthLimiter, TlsSettings};
use flock_compiler::metrics::Metrics;
use flock_compiler::source::kubernetes;
use flock_compiler::tls::Certificate;
use flock_compiler::tls::own::{CertificateLocation, CertificateManager};
use flock_shared::access::{AGENT_ACCOUNT, AUDIENCE, CA_CONFIG_MAP, CA_KEY, NAMESPACE, TLS_SECRET};
use flock_testkit::{AccountToken, ApiServer, CONFIG_MAP, POD, TOKEN_REVIEW, Verb};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use crate::cluster;

/// What the compiler's certificate is for.
const NAME: &str = "flock-compiler.flock-system.svc";
/// How long the API server takes for each review.
pub(crate) const REVIEW: Duration = Duration::from_millis(5);

/// The API server, which runs on threads of its own beside the agents.
pub(crate) struct Cluster {
    api: ApiServer,
    folder: TempDir,
    _runtime: Runtime,
}

impl Cluster {
    /// One that knows the pods of so many agents. Not for a thread of a runtime.
    pub(crate) fn start(nodes: usize) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let api = runtime.block_on(ApiServer::start())?;
        for number in 0..nodes {
            let node = cluster::node(number)?;
            let metadata = json!({ "namespace": NAMESPACE, "name": pod(node.as_str()) });
            let pod =
                json!({ "metadata": metadata, "spec": { "nodeName": node.as_str(), "hostNetwork": true } });
            api.store().put(POD, pod).map_err(|status| anyhow::anyhow!("{status:?}"))?;
        }
        api.faults().delay(TOKEN_REVIEW, Verb::Create, REVIEW);
        let folder = TempDir::new()?;
        api.write_kubeconfig(folder.path())?;
        Ok(Self { api, folder, _runtime: runtime })
    }

    /// How the compiler reaches it.
    pub(crate) fn kubeconfig(&self) -> std::path::PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// The token of a node's agent.
    pub(crate) fn token(&self, node: &str) -> anyhow::Result<String> {
        let found = self.api.store().get(POD, NAMESPACE, &pod(node)).context("the agent's pod")?;
        let uid = found["metadata"]["uid"].as_str().context("a UID")?;
        let account = AccountToken::new(NAMESPACE, AGENT_ACCOUNT).audience(AUDIENCE).node(node);
        Ok(self.api.identities().issue(&account.pod(pod(node), uid)))
    }

    /// How agents speak TLS with whoever has the certificate that was published.
    pub(crate) fn connector(&self) -> anyhow::Result<Tls> {
        let map = self.api.store().get(CONFIG_MAP, NAMESPACE, CA_CONFIG_MAP).context("no authority yet")?;
        let bundle = map["data"][CA_KEY].as_str().context("no authority yet")?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        // An agent reads the authorities anew for each connection, and knows nothing of the one before.
        config.resumption = Resumption::disabled();
        Ok(Tls { connector: TlsConnector::from(Arc::new(config)), name: ServerName::try_from(NAME)? })
    }
}

fn pod(node: &str) -> String {
    format!("agent-{node}")
}

/// How agents speak TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) connector: TlsConnector,
    pub(crate) name: ServerName<'static>,
}

/// What the compiler has where it asks for tokens.
pub(crate) struct Protection {
    pub(crate) access: Access,
    pub(crate) secured: TlsSettings,
}

/// Certificates that are there and are looked after, and reviews, both with the API server of `kubeconfig`.
pub(crate) async fn protection(kubeconfig: &Path, metrics: &Arc<Metrics>) -> anyhow::Result<Protection> {
    let client = kubernetes::connect(Some(kubeconfig)).await?;
    let certificate = Certificate::default();
    let location = CertificateLocation {
        namespace: NAMESPACE.parse()?,
        secret: TLS_SECRET.parse()?,
        config_map: CA_CONFIG_MAP.parse()?,
        key: CA_KEY.to_owned(),
    };
    let names = [NAME.to_owned()].into();
    let mut manager =
        CertificateManager::new(&client, location, names, certificate.clone(), Arc::clone(metrics));
    manager.look().await?;
    tokio::spawn(manager.keep());
    let agents: ServiceAccount = format!("{NAMESPACE}/{AGENT_ACCOUNT}").parse()?;
    let reviews = Reviews::new(client, ReviewSettings::new(AUDIENCE.to_owned(), agents), Arc::clone(metrics));
    let config = certificate.server_config(&[b"h2"])?;
    let (limiter, limit) = (PreAuthLimiter::default(), Duration::from_secs(10));
    let secured = TlsSettings { config, limiter, limit, metrics: Arc::clone(metrics) };
    Ok(Protection { access: Access::Reviewed(Arc::new(reviews)), secured })
}
