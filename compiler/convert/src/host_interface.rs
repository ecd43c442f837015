//! How the host's end of a pod's link is called: `--host-iface`.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use flock_compiler_core::object::{HostInterface, InterfaceName};
use flock_shared::PodKey;
use sha1::{Digest, Sha1};

use super::field::{Faults, Field};

/// Hex digits of the hash that follow the prefix; with a prefix of four bytes they fill an interface name.
const HASH_DIGITS: usize = 11;

/// Where the interface name of a pod comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HostInterfaces {
    /// Not known: dispatch is by address only.
    None,
    /// `cni`: what CNI's plugin reported of each pod, where it did; root on the node said so, and no tenant can.
    #[default]
    Cni,
    /// `sha1:PREFIX`: the prefix and the first 11 hex digits of `sha1("namespace.name")`, as Calico (`cali`),
    /// Azure (`azv`), AWS (`eni`) and GKE (`gke`) name their links.
    Sha1 {
        /// What goes before the digits; at most four bytes.
        prefix: String,
    },
    /// `annotation:KEY`: the value of the pod's annotation, where it has one.
    Annotation {
        /// The annotation's key.
        key: String,
    },
}

/// Why a `--host-iface` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostInterfacesError {
    /// Neither of the three forms.
    #[error("{found:?} is not one of none, cni, sha1:PREFIX, annotation:KEY")]
    Form {
        /// What was given.
        found: String,
    },
    /// The prefix is empty, too long or has characters that an interface name cannot have.
    #[error("sha1 prefix {prefix:?}: expected 1 to 4 of A-Z a-z 0-9 . _ - (cali, azv, eni, gke)")]
    Prefix {
        /// What was given.
        prefix: String,
    },
    /// No annotation is named.
    #[error("annotation: needs the key of an annotation")]
    Key,
}

impl HostInterfaces {
    /// The interface of a pod with a network of its own; a fault if its annotation holds no interface name.
    pub(super) fn of(&self, key: &PodKey, root: &Field<'_>, faults: &mut Faults) -> Option<HostInterface> {
        match self {
            // The world adds what CNI reported.
            Self::None | Self::Cni => None,
            Self::Sha1 { prefix } => hashed(prefix, key).parse().ok().map(HostInterface::Computed),
            Self::Annotation { key } => {
                let metadata = root.get("metadata")?;
                let annotations = metadata.get("annotations")?;
                annotations.get(key)?.parsed(faults, InterfaceName::from_str).map(HostInterface::Claimed)
            }
        }
    }
}

fn hashed(prefix: &str, key: &PodKey) -> String {
    let mut name = prefix.to_owned();
    for byte in Sha1::digest(format!("{}.{}", key.namespace, key.name)).iter().take(HASH_DIGITS.div_ceil(2)) {
        // Writing into a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    // Eleven digits are five bytes and a half, so of the sixth byte one digit is too many.
    name.truncate(prefix.len() + HASH_DIGITS);
    name
}

impl FromStr for HostInterfaces {
    type Err = HostInterfacesError;

    fn from_str(text: &str) -> Result<Self, HostInterfacesError> {
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            None if text == "cni" => Ok(Self::Cni),
            Some(("sha1", prefix)) => {
                // No hash is longer than these zeros or has other characters than digits and letters, so one name
                // stands for all.
                let widest = format!("{prefix}{}", "0".repeat(HASH_DIGITS));
                if prefix.is_empty() || widest.parse::<InterfaceName>().is_err() {
                    return Err(HostInterfacesError::Prefix { prefix: prefix.to_owned() });
                }
                Ok(Self::Sha1 { prefix: prefix.to_owned() })
            }
            Some(("annotation", "")) => Err(HostInterfacesError::Key),
            Some(("annotation", key)) => Ok(Self::Annotation { key: key.to_owned() }),
            _ => Err(HostInterfacesError::Form { found: text.to_owned() }),
        }
    }
}

impl fmt::Display for HostInterfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Cni => f.write_str("cni"),
            Self::Sha1 { prefix } => write!(f, "sha1:{prefix}"),
            Self::Annotation { key } => write!(f, "annotation:{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_round_trips() {
        for text in
            ["none", "cni", "sha1:cali", "sha1:azv", "annotation:cni.example.org/veth", "annotation:a:b"]
        {
            assert_eq!(text.parse::<HostInterfaces>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_cannot_name_an_interface_is_refused() {
        for (text, message) in [
            ("", "\"\" is not one of none, cni, sha1:PREFIX, annotation:KEY"),
            ("md5:cali", "\"md5:cali\" is not one of none, cni, sha1:PREFIX, annotation:KEY"),
            ("sha1", "\"sha1\" is not one of none, cni, sha1:PREFIX, annotation:KEY"),
            ("sha1:", "sha1 prefix \"\": expected 1 to 4 of A-Z a-z 0-9 . _ - (cali, azv, eni, gke)"),
            (
                "sha1:calic",
                "sha1 prefix \"calic\": expected 1 to 4 of A-Z a-z 0-9 . _ - (cali, azv, eni, gke)",
            ),
            ("sha1:a\"", "sha1 prefix \"a\\\"\": expected 1 to 4 of A-Z a-z 0-9 . _ - (cali, azv, eni, gke)"),
            ("annotation:", "annotation: needs the key of an annotation"),
        ] {
            assert_eq!(text.parse::<HostInterfaces>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn the_hash_is_the_one_calico_takes() {
        // printf kube-system.coredns-1 | sha1sum
        let key = PodKey::new("kube-system", "coredns-1").unwrap();
        assert_eq!(hashed("cali", &key), "cali5adc4ab58e2");
    }
}
