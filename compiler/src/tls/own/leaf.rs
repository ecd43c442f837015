//! The certificate that is shown, and its key.

use std::collections::BTreeSet;
use std::fmt;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};

use super::authority::Authority;
use super::x509::{self, UnreadableError, Validity};

/// A leaf. `Debug` does not show its key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    /// PEM, one certificate.
    pub(super) certificate: String,
    /// PEM, PKCS #8.
    pub(super) key: String,
    pub(super) valid: Validity,
    /// The name of the authority that signed it.
    pub(super) issuer: String,
    /// The names of DNS that it is for.
    pub(super) names: BTreeSet<String>,
}

impl Leaf {
    /// A new one, not longer valid than its authority.
    pub(super) fn make(
        authority: &Authority,
        names: BTreeSet<String>,
        valid: Validity,
    ) -> Result<Self, rcgen::Error> {
        // No longer than its authority, beyond whose end nobody would accept it.
        let valid = Validity { until: valid.until.min(authority.valid.until), ..valid };
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "flock-netpol compiler");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (valid.from, valid.until);
        let certificate = params.signed_by(&key, &authority.issuer()?)?.pem();
        let (valid, issuer) = (valid.in_seconds(), authority.name.clone());
        Ok(Self { certificate, key: key.serialize_pem(), valid, issuer, names })
    }

    /// One that was made before.
    pub(super) fn read(certificate: &str, key: &str) -> Result<Self, UnreadableError> {
        let (valid, issuer) = x509::certificate(certificate, |parsed| parsed.issuer())?;
        let names = x509::names(certificate)?;
        KeyPair::from_pem(key).map_err(|_| UnreadableError::Key)?;
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), valid, issuer, names })
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Leaf");
        shown.field("issuer", &self.issuer).field("names", &self.names).field("valid", &self.valid);
        shown.finish_non_exhaustive()
    }
}
