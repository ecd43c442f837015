//! What it takes to serve beyond loopback: a certificate, and somebody who vouches for callers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use flock_shared::{ObjectName, access};
use kube::Client;

use crate::access::{Access, Reviews, ServiceAccount, Settings};
use crate::cli::Security;
use crate::listen::{Doorway, Secured};
use crate::metrics::Metrics;
use crate::tls::Certificate;
use crate::tls::files::Files;
use crate::tls::own::{Keeper, Place};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Strangers on the admin port, where nobody is ever known: in all, and of one address.
const ADMIN_STRANGERS: (usize, usize) = (1024, 64);

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
                let place = Place {
                    namespace: namespace.clone(),
                    secret: object(access::TLS_SECRET)?,
                    config_map: object(access::CA_CONFIG_MAP)?,
                    key: access::CA_KEY.to_owned(),
                };
                let mut keeper = Keeper::new(client, place, names, certificate.clone(), Arc::clone(metrics));
                Box::pin(async move {
                    keeper.begin().await;
                    keeper.keep().await;
                })
            }
        };
        let agents = match agent_account {
            Some(account) => account,
            None => ServiceAccount { namespace, name: object(access::AGENT_ACCOUNT)? },
        };
        let settings = Settings::new(audience, agents);
        let reviews = Reviews::new(client.clone(), settings, Arc::clone(metrics));
        let access = Access::Reviewed(Arc::new(reviews));
        Ok((Self { certificate, access, metrics: Arc::clone(metrics) }, upkeep))
    }

    /// How the agents' port speaks TLS.
    pub(crate) fn grpc(&self) -> anyhow::Result<Secured> {
        self.secured(b"h2", Doorway::default())
    }

    /// How the admin port does.
    pub(crate) fn admin(&self) -> anyhow::Result<Secured> {
        self.secured(b"http/1.1", Doorway::new(ADMIN_STRANGERS.0, ADMIN_STRANGERS.1))
    }

    fn secured(&self, protocol: &[u8], doorway: Doorway) -> anyhow::Result<Secured> {
        let config = self.certificate.server_config(&[protocol]).context("TLS 1.3")?;
        Ok(Secured { config, doorway, limit: HANDSHAKE, metrics: Arc::clone(&self.metrics) })
    }
}
