//! The certificate that the compiler shows, and where it comes from: files that somebody else renews, or the compiler's
//! own, which its replicas agree on.
//!
//! A certificate is exchanged for those who come; who is connected stays connected.

pub mod files;
pub mod nobody;
pub mod own;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

/// Why something is no certificate to show. Holds nothing of a key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate or its chain.
    #[error("the certificate is not PEM: {0}")]
    Chain(pem::Error),
    /// There is none.
    #[error("there is no certificate")]
    Empty,
    /// The key.
    #[error("the private key is not PEM")]
    Key,
    /// Both are there and do not belong together, or nothing can be done with them.
    #[error("certificate and private key cannot be used: {0}")]
    Unusable(rustls::Error),
    /// It could not be made.
    #[error("a certificate cannot be made: {0}")]
    Make(rcgen::Error),
}

/// The certificate that is shown to those who connect. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Certificate(Arc<ArcSwapOption<CertifiedKey>>);

impl Certificate {
    /// Shows another one from now on: a chain, leaf first, and the leaf's key, PEM.
    ///
    /// # Errors
    /// [`CertificateError`] says what is wrong with it; the one before it stays.
    pub fn show(&self, chain: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(CertificateError::Chain)?;
        if chain.is_empty() {
            return Err(CertificateError::Empty);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::Key)?;
        let certified =
            CertifiedKey::from_der(chain, key, &provider()).map_err(CertificateError::Unusable)?;
        self.0.store(Some(Arc::new(certified)));
        Ok(())
    }

    /// Returns true if there is one.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.load().is_some()
    }

    /// TLS 1.3 with this certificate, for the protocols that are named (ALPN).
    ///
    /// # Errors
    /// When the provider cannot do TLS 1.3; ring can.
    pub fn server_config(&self, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, rustls::Error> {
        server_config(Arc::new(self.clone()), protocols)
    }

    /// The same, with another certificate as long as there is none.
    ///
    /// # Errors
    /// As [`Certificate::server_config`].
    pub fn server_config_or(
        &self,
        other: Self,
        protocols: &[&[u8]],
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        server_config(Arc::new(Either { first: self.clone(), other }), protocols)
    }
}

fn server_config(
    resolver: Arc<dyn ResolvesServerCert>,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    // Agents read the authorities anew for each connection, and come back too seldom for a session to be resumed.
    config.send_tls13_tickets = 0;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// One certificate, and another one as long as there is none.
#[derive(Debug)]
struct Either {
    first: Certificate,
    other: Certificate,
}

impl ResolvesServerCert for Either {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.first.0.load_full().or_else(|| self.other.0.load_full())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
