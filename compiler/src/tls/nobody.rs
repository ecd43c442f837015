//! A certificate by nobody, for probes that come before there is a real one.
//!
//! Kubelet does not look by whom a certificate is. Without any, its handshake fails, and a compiler that waits for its API
//! server would be taken for dead, and be started again and again. Whoever does look is served as little with it as without.

use rcgen::{CertificateParams, KeyPair};

use super::{Certificate, CertificateError};

/// A name that nobody asks for.
pub const NAME: &str = "probes.invalid";

/// The certificate, and the same as PEM. Each is another one, and its key is nowhere but in this process.
///
/// # Errors
/// When it cannot be made.
pub fn certificate() -> Result<(Certificate, String), CertificateError> {
    let key = KeyPair::generate().map_err(CertificateError::Make)?;
    let params = CertificateParams::new([NAME.to_owned()]).map_err(CertificateError::Make)?;
    let pem = params.self_signed(&key).map_err(CertificateError::Make)?.pem();
    let certificate = Certificate::default();
    certificate.show(pem.as_bytes(), key.serialize_pem().as_bytes())?;
    Ok((certificate, pem))
}
