//! What the Secret holds: authorities with their keys, the oldest first, and the leaf.
//!
//! | key | holds |
//! |---|---|
//! | `ca.crt` | the authorities' certificates |
//! | `ca.key` | their keys, in the same order |
//! | `tls.crt`, `tls.key` | the leaf and its key |

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::authority::Authority;
use super::leaf::Leaf;
use super::x509::UnreadableError;

/// The keys of the Secret.
const AUTHORITIES: &str = "ca.crt";
const AUTHORITIES_KEYS: &str = "ca.key";
const LEAF: &str = "tls.crt";
const LEAF_KEY: &str = "tls.key";

/// Authorities and a leaf.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Material {
    /// The oldest first.
    pub(super) authorities: Vec<Authority>,
    pub(super) leaf: Option<Leaf>,
}

/// Why a Secret holds no certificates of ours. Shows nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaterialError {
    /// It is not text.
    #[error("{key} is not text")]
    NotText {
        /// The key in the Secret.
        key: &'static str,
    },
    /// What should be a certificate or its key is none.
    #[error(transparent)]
    Unreadable(#[from] UnreadableError),
    /// A certificate that somebody else has signed.
    #[error("the certificate is by none of the authorities beside it")]
    Stray,
    /// A certificate without a key, or the other way round.
    #[error("{certificates} certificates and {keys} keys in {key}: one is needed for each")]
    Unpaired {
        /// The key in the Secret that holds the certificates.
        key: &'static str,
        /// How many certificates.
        certificates: usize,
        /// How many keys.
        keys: usize,
    },
}

impl Material {
    /// Reads the data of a Secret. What is not there yet is not there.
    ///
    /// # Errors
    /// [`MaterialError`] says what cannot be read. It may be somebody else's, so it is not to be overwritten.
    pub fn read(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, MaterialError> {
        let authorities = pairs(data, AUTHORITIES, AUTHORITIES_KEYS)?
            .into_iter()
            .map(|(certificate, key)| Authority::read(&certificate, &key))
            .collect::<Result<_, _>>()?;
        let leaf = match pairs(data, LEAF, LEAF_KEY)?.as_slice() {
            [] => None,
            [(certificate, key)] => Some(Leaf::read(certificate, key)?),
            more => {
                let (certificates, keys) = (more.len(), 1);
                return Err(MaterialError::Unpaired { key: LEAF, certificates, keys });
            }
        };
        let material = Self { authorities, leaf };
        let is_known =
            |leaf: &Leaf| material.authorities.iter().any(|authority| authority.name == leaf.issuer);
        if material.leaf.as_ref().is_some_and(|leaf| !is_known(leaf)) {
            return Err(MaterialError::Stray);
        }
        Ok(material)
    }

    /// The data of a Secret.
    #[must_use]
    pub fn write(&self) -> BTreeMap<String, Vec<u8>> {
        let keys: String = self.authorities.iter().map(|authority| authority.key.as_str()).collect();
        let mut data = BTreeMap::from([(AUTHORITIES, self.bundle()), (AUTHORITIES_KEYS, keys)]);
        if let Some(leaf) = &self.leaf {
            data.insert(LEAF, leaf.certificate.clone());
            data.insert(LEAF_KEY, leaf.key.clone());
        }
        data.into_iter().map(|(key, text)| (key.to_owned(), text.into_bytes())).collect()
    }

    /// The authorities' certificates, PEM: what agents trust.
    #[must_use]
    pub fn bundle(&self) -> String {
        self.authorities.iter().map(|authority| authority.certificate.as_str()).collect()
    }

    /// The chain that is shown and its key, PEM, once there is one.
    #[must_use]
    pub fn shown(&self) -> Option<(&str, &str)> {
        self.leaf.as_ref().map(|leaf| (leaf.certificate.as_str(), leaf.key.as_str()))
    }

    /// Until when the leaf is valid.
    #[must_use]
    pub fn expires(&self) -> Option<OffsetDateTime> {
        self.leaf.as_ref().map(|leaf| leaf.valid.until)
    }
}

/// The certificates under one key of the data and the keys under another, in pairs.
fn pairs(
    data: &BTreeMap<String, Vec<u8>>,
    certificates: &'static str,
    keys: &'static str,
) -> Result<Vec<(String, String)>, MaterialError> {
    let blocks = |key: &'static str| {
        let text = data.get(key).map(Vec::as_slice).unwrap_or_default();
        std::str::from_utf8(text).map(blocks).map_err(|_| MaterialError::NotText { key })
    };
    let (found, found_keys) = (blocks(certificates)?, blocks(keys)?);
    if found.len() != found_keys.len() {
        let (certificates, keys, key) = (found.len(), found_keys.len(), certificates);
        return Err(MaterialError::Unpaired { key, certificates, keys });
    }
    Ok(found.into_iter().zip(found_keys).collect())
}

/// The blocks of a PEM text, each with its lines.
fn blocks(text: &str) -> Vec<String> {
    const BEGIN: &str = "-----BEGIN ";
    let starts: Vec<usize> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(&start, end)| format!("{}\n", text[start..end].trim_end())).collect()
}
