//! Keeping the Secret and the ConfigMap as they should be, with other replicas that do the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flock_shared::backoff::Backoff;
use flock_shared::causes;
use flock_shared::{NamespaceName, ObjectName};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::PostParams;
use kube::{Api, Client};
use rand::Rng as _;
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};

use super::material::{Material, MaterialError};
use super::renew::{Lifetimes, renew};
use crate::metrics::Metrics;
use crate::tls::{Certificate, CertificateError};

/// How often it is looked if something is due, or another replica has renewed.
const EVERY: Duration = Duration::from_secs(60);

/// How long the API server may take for one round.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often a round is begun anew because another replica was faster, before it counts as failed.
const ATTEMPTS: u32 = 8;

/// How long a replica that was overtaken lets the others finish.
const YIELD: Duration = Duration::from_millis(50);

/// Where certificates are kept and published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateLocation {
    /// Namespace of both objects.
    pub namespace: NamespaceName,
    /// Holds everything.
    pub secret: ObjectName,
    /// Holds the authorities' certificates, under `key`.
    pub config_map: ObjectName,
    /// See [`Self::config_map`].
    pub key: String,
}

/// Why certificates are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum CertificateManagerError {
    /// The API server could not be asked, or refuses.
    #[error("{what} {namespace}/{name}")]
    Object {
        /// Kind of the object.
        what: &'static str,
        /// Its namespace.
        namespace: NamespaceName,
        /// Its name.
        name: ObjectName,
        /// What went wrong.
        source: Box<kube::Error>,
    },
    /// The Secret holds something else. It is not overwritten.
    #[error(
        "Secret {namespace}/{name} holds no certificates of ours; remove its data, and they are made anew"
    )]
    Foreign {
        /// Its namespace.
        namespace: NamespaceName,
        /// Its name.
        name: ObjectName,
        /// What is wrong with it.
        source: MaterialError,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate for {names:?}")]
    Make {
        /// What it was to be for.
        names: BTreeSet<String>,
        /// What went wrong.
        source: rcgen::Error,
    },
    /// The leaf cannot be shown.
    #[error(transparent)]
    Show(#[from] CertificateError),
    /// Nothing came back in time.
    #[error("no answer within {PATIENCE:?}")]
    TimedOut,
    /// Others were always faster.
    #[error("other replicas wrote at the same time, {ATTEMPTS} times in a row")]
    Contended,
}

/// Between half of a time and the whole.
fn about(time: Duration) -> Duration {
    time.mul_f64(rand::rng().random_range(0.5..1.0))
}

/// What a round comes to.
enum Round {
    Done(Material),
    /// Another replica was faster: what was read is old.
    Overtaken,
}

/// Keeps the compiler's own certificates.
pub struct CertificateManager {
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
    location: CertificateLocation,
    names: BTreeSet<String>,
    lifetimes: Lifetimes,
    every: Duration,
    certificate: Certificate,
    metrics: Arc<Metrics>,
    shown: Option<Material>,
}

impl CertificateManager {
    /// Keeps certificates for `names` in `location`, and shows the leaf as `certificate`.
    #[must_use]
    pub fn new(
        client: &Client,
        location: CertificateLocation,
        names: BTreeSet<String>,
        certificate: Certificate,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (secrets, config_maps) = (
            Api::namespaced(client.clone(), location.namespace.as_str()),
            Api::namespaced(client.clone(), location.namespace.as_str()),
        );
        let (lifetimes, every) = (Lifetimes::default(), EVERY);
        Self { secrets, config_maps, location, names, lifetimes, every, certificate, metrics, shown: None }
    }

    /// The same on other lifetimes, looked after every so often.
    #[must_use]
    pub fn with_lifetimes(self, lifetimes: Lifetimes, every: Duration) -> Self {
        Self { lifetimes, every, ..self }
    }

    /// Waits until there is a certificate, with growing pauses while there is none.
    pub async fn begin(&mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(500), self.every);
        while let Err(error) = self.look().await {
            tracing::warn!(error = ?causes(&error), "there is no certificate yet");
            sleep(backoff.pause()).await;
        }
    }

    /// Looks after them for as long as it is polled.
    pub async fn keep(mut self) {
        loop {
            // Replicas do not all look at once, so that one of them renews and the others find it done.
            sleep(about(self.every)).await;
            if let Err(error) = self.look().await {
                tracing::warn!(error = ?causes(&error), "the certificate stays as it was");
            }
        }
    }

    /// Renews what is due, publishes the authorities, and shows the leaf, in this order.
    ///
    /// # Errors
    /// [`CertificateManagerError`] says what went wrong; what was shown before goes on being shown.
    pub async fn look(&mut self) -> Result<(), CertificateManagerError> {
        for _ in 0..ATTEMPTS {
            match timeout(PATIENCE, self.round()).await.map_err(|_| CertificateManagerError::TimedOut)?? {
                Round::Done(material) => return self.show(material),
                // At random, so that replicas that have met do not meet again.
                Round::Overtaken => sleep(about(YIELD)).await,
            }
        }
        Err(CertificateManagerError::Contended)
    }

    async fn round(&self) -> Result<Round, CertificateManagerError> {
        // The ConfigMap first: if another replica writes both meanwhile, its version is not the one that was read here.
        let published = self.config_maps.get_opt(self.location.config_map.as_str()).await;
        let published =
            published.map_err(|error| self.error("ConfigMap", &self.location.config_map, error))?;
        let Some(material) = self.renewed().await? else { return Ok(Round::Overtaken) };
        if self.publish(published, &material.bundle()).await? {
            Ok(Round::Done(material))
        } else {
            Ok(Round::Overtaken)
        }
    }

    /// What the Secret holds, after what was due; `None` if another replica was faster.
    async fn renewed(&self) -> Result<Option<Material>, CertificateManagerError> {
        let fault = |error| self.error("Secret", &self.location.secret, error);
        let existing = self.secrets.get_opt(self.location.secret.as_str()).await.map_err(fault)?;
        let data = existing.as_ref().and_then(|secret| secret.data.clone()).unwrap_or_default();
        let data = data.into_iter().map(|(key, ByteString(bytes))| (key, bytes)).collect();
        let material = Material::read(&data).map_err(|source| {
            let CertificateLocation { namespace, secret: name, .. } = self.location.clone();
            CertificateManagerError::Foreign { namespace, name, source }
        })?;
        let renewed = renew(&material, &self.names, OffsetDateTime::now_utc(), &self.lifetimes)
            .map_err(|source| CertificateManagerError::Make { names: self.names.clone(), source })?;
        let Some(renewed) = renewed else { return Ok(Some(material)) };
        let is_new = existing.is_none();
        let mut secret = existing.unwrap_or_default();
        secret.metadata.name = Some(self.location.secret.to_string());
        let data = secret.data.get_or_insert_default();
        data.extend(renewed.write().into_iter().map(|(key, bytes)| (key, ByteString(bytes))));
        let name = self.location.secret.as_str();
        let written = if is_new {
            self.secrets.create(&PostParams::default(), &secret).await
        } else {
            self.secrets.replace(name, &PostParams::default(), &secret).await
        };
        if taken(written).map_err(fault)? {
            tracing::info!(expires = renewed.expires().map(tracing::field::display), "renewed certificates");
            return Ok(Some(renewed));
        }
        Ok(None)
    }

    /// Puts the authorities' certificates where agents find them. Returns true unless another replica was faster.
    async fn publish(
        &self,
        existing: Option<ConfigMap>,
        bundle: &str,
    ) -> Result<bool, CertificateManagerError> {
        let key = &self.location.key;
        let is_new = existing.is_none();
        let mut map = existing.unwrap_or_default();
        if map.data.as_ref().and_then(|data| data.get(key)).is_some_and(|published| published == bundle) {
            return Ok(true);
        }
        map.metadata.name = Some(self.location.config_map.to_string());
        map.data.get_or_insert_default().insert(key.clone(), bundle.to_owned());
        let written = if is_new {
            self.config_maps.create(&PostParams::default(), &map).await
        } else {
            self.config_maps.replace(self.location.config_map.as_str(), &PostParams::default(), &map).await
        };
        taken(written).map_err(|error| self.error("ConfigMap", &self.location.config_map, error))
    }

    fn show(&mut self, material: Material) -> Result<(), CertificateManagerError> {
        // Last of all: what is shown is signed by what has been published.
        if self.shown.as_ref() != Some(&material)
            && let Some((chain, key)) = material.shown()
        {
            self.certificate.show(chain.as_bytes(), key.as_bytes())?;
            self.metrics.certificate_expiry(material.expires().map(OffsetDateTime::unix_timestamp));
            self.shown = Some(material);
        }
        Ok(())
    }

    fn error(&self, what: &'static str, name: &ObjectName, source: kube::Error) -> CertificateManagerError {
        let (namespace, name) = (self.location.namespace.clone(), name.clone());
        CertificateManagerError::Object { what, namespace, name, source: Box::new(source) }
    }
}

/// Returns true if a write was taken, and not if somebody else wrote since the object was read.
fn taken<T>(written: Result<T, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        // A conflict, or an object that is there already.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
