//! A certificate authority of the compiler's own: its certificate and its key.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;

use super::x509::{self, UnreadableError, Validity};

/// An authority. `Debug` does not show its key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Authority {
    /// PEM, one certificate.
    pub(super) certificate: String,
    /// PEM, PKCS #8.
    pub(super) key: String,
    pub(super) valid: Validity,
    /// Its name, which no other authority has.
    pub(super) name: String,
}

impl Authority {
    /// A new one.
    pub(super) fn make(valid: Validity) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        let name = format!("flock-netpol compiler {:016x}", rand::random::<u64>());
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name.clone());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (valid.from, valid.until);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, key: key.serialize_pem(), valid: valid.in_seconds(), name })
    }

    /// One that was made before.
    pub(super) fn read(certificate: &str, key: &str) -> Result<Self, UnreadableError> {
        let (valid, name) = x509::certificate(certificate, |parsed| parsed.subject())?;
        KeyPair::from_pem(key).map_err(|_| UnreadableError::Key)?;
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), valid, name })
    }

    /// What signs leaves.
    pub(super) fn issuer(&self) -> Result<Issuer<'static, KeyPair>, rcgen::Error> {
        Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)
    }

    /// Returns true if it is valid at `now`.
    pub(super) fn is_valid(&self, now: OffsetDateTime) -> bool {
        self.valid.from <= now && now < self.valid.until
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("name", &self.name)
            .field("valid", &self.valid)
            .finish_non_exhaustive()
    }
}
