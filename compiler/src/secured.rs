//! What it takes to serve beyond loopback: a certificate, and somebody who vouches for callers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use flock_shared::{ObjectName, access};
use kube::Client;
use rustls::ServerConfig;

use crate::access::{Access, ReviewSettings, Reviews, ServiceAccount};
use crate::cli::Security;
use crate::listen::{PreAuthLimiter, TlsSettings};
use crate::metrics::Metrics;
use crate::tls::files::Files;
use crate::tls::own::{CertificateLocation, CertificateManager};
use crate::tls::{Certificate, nobody};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Keeps the certificate as it should be, for as long as it is polled.
pub(crate) type Upkeep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What both ports share.
#[derive(Debug, Clone)]
pub(crate) struct Protection {
    pub(crate) certificate: Certificate,
    pub(crate) access: Access,
    metrics: Arc<Metrics>,
}

impl Protection {
    /// Protection as `options` have it, and what keeps it up.
    pub(crate) fn new(
        client: &Client,
        options: Security,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<(Self, Upkeep)> {
        let Security { tls_dir, tls_names, namespace, audience, agent_account, .. } = options;
        let object = |name| ObjectName::new(name).context("a name that is part of the program");
        // Empty at first: the API server may be away, and a process that waited for it would not say so to anybody.
        let certificate = Certificate::default();
        let upkeep: Upkeep = match tls_dir {
            Some(folder) => Box::pin(Files::open(folder, certificate.clone()).context("--tls-dir")?.follow()),
            None => {
                let service = access::SERVICE;
                let names: BTreeSet<String> = if tls_names.is_empty() {
                    let short = format!("{service}.{namespace}");
                    [".svc", ".svc.cluster.local", ""].map(|suffix| format!("{short}{suffix}")).into()
                } else {
                    // An address is named as certificates are read: in one of its forms.
                    let named = |name: String| match name.parse::<IpAddr>() {
                        Ok(address) => address.to_string(),
                        Err(_) => name,
                    };
                    tls_names.into_iter().map(named).collect()
                };
                let location = CertificateLocation {
                    namespace: namespace.clone(),
                    secret: object(access::TLS_SECRET)?,
                    config_map: object(access::CA_CONFIG_MAP)?,
                    key: access::CA_KEY.to_owned(),
                };
                let mut manager = CertificateManager::new(
                    client,
                    location,
                    names,
                    certificate.clone(),
                    Arc::clone(metrics),
                );
                Box::pin(async move {
                    manager.begin().await;
                    manager.keep().await;
                })
            }
        };
        let agents = match agent_account {
            Some(account) => account,
            None => ServiceAccount { namespace, name: object(access::AGENT_ACCOUNT)? },
        };
        let settings = ReviewSettings::new(audience, agents);
        let reviews = Reviews::new(client.clone(), settings, Arc::clone(metrics));
        let access = Access::Reviewed(Arc::new(reviews));
        Ok((Self { certificate, access, metrics: Arc::clone(metrics) }, upkeep))
    }

    /// How the agents' port speaks TLS.
    pub(crate) fn grpc(&self, limiter: PreAuthLimiter) -> anyhow::Result<TlsSettings> {
        let config = self.certificate.server_config(&[b"h2"]).context("TLS 1.3")?;
        Ok(self.tls_settings(config, limiter))
    }

    /// How the admin port does, where probes come before there is a certificate.
    pub(crate) fn admin(&self, limiter: PreAuthLimiter) -> anyhow::Result<TlsSettings> {
        let (nobody, _) = nobody::certificate().context("a certificate for probes")?;
        let config = self.certificate.server_config_or(nobody, &[b"http/1.1"]).context("TLS 1.3")?;
        Ok(self.tls_settings(config, limiter))
    }

    fn tls_settings(&self, config: Arc<ServerConfig>, limiter: PreAuthLimiter) -> TlsSettings {
        TlsSettings { config, limiter, limit: HANDSHAKE, metrics: Arc::clone(&self.metrics) }
    }
}
