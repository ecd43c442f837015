//! What stands in a certificate.

use std::collections::BTreeSet;
use std::net::IpAddr;

use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::X509Name;

/// What cannot be read. Shows nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableError {
    /// What should be a certificate is none.
    #[error("a certificate cannot be read")]
    Certificate,
    /// What should be a private key is none.
    #[error("a private key cannot be read")]
    Key,
}

/// From when until when, as certificates have it: in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: OffsetDateTime,
    pub(super) until: OffsetDateTime,
}

impl Validity {
    pub(super) fn in_seconds(self) -> Self {
        let whole = |time: OffsetDateTime| time.truncate_to_second();
        Self { from: whole(self.from), until: whole(self.until) }
    }
}

/// The validity of a certificate, and the common name of one of its parties.
pub(super) fn certificate(
    pem: &str,
    party: impl for<'a> FnOnce(&'a X509Certificate<'a>) -> &'a X509Name<'a>,
) -> Result<(Validity, String), UnreadableError> {
    parsed(pem, |certificate| {
        let valid = certificate.validity();
        let valid = Validity { from: valid.not_before.to_datetime(), until: valid.not_after.to_datetime() };
        let name = party(certificate).iter_common_name().next()?.as_str().ok()?.to_owned();
        Some((valid, name))
    })
}

/// The names and addresses that a certificate is for.
pub(super) fn names(pem: &str) -> Result<BTreeSet<String>, UnreadableError> {
    parsed(pem, |certificate| {
        let names = certificate.subject_alternative_name().ok()?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(octets) => address(octets),
            _ => None,
        });
        Some(names.collect())
    })
}

fn address(octets: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from));
    address.ok().map(|address| address.to_string())
}

fn parsed<T>(pem: &str, read: impl FnOnce(&X509Certificate<'_>) -> Option<T>) -> Result<T, UnreadableError> {
    let (_, pem) =
        x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| UnreadableError::Certificate)?;
    let certificate = pem.parse_x509().map_err(|_| UnreadableError::Certificate)?;
    read(&certificate).ok_or(UnreadableError::Certificate)
}
