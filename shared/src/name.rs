//! Names of Kubernetes objects as values that are valid by construction.
//!
//! Object names reach logs, tables and map keys; the API server validates them, a manifest on disk does not.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a string is not a name of a Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The string is empty.
    #[error("is empty; expected a DNS-1123 name")]
    Empty,
    /// The string is longer than the API allows.
    #[error("has {length} bytes; at most {limit} are allowed")]
    TooLong {
        /// Bytes found.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The string holds a character that DNS-1123 does not allow at that place.
    #[error(
        "{name:?} is not a DNS-1123 name: lower case letters, digits, '-' and '.', starting and ending with a letter or digit"
    )]
    Character {
        /// The string, shortened for messages.
        name: String,
    },
}

/// The longest name of an object (DNS-1123 subdomain).
const SUBDOMAIN_LIMIT: usize = 253;
/// The longest name of a namespace (DNS-1123 label).
const LABEL_LIMIT: usize = 63;

fn validate(name: &str, limit: usize, dots: bool) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > limit {
        return Err(NameError::TooLong { length: name.len(), limit });
    }
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let edges =
        bytes.first().copied().is_some_and(alphanumeric) && bytes.last().copied().is_some_and(alphanumeric);
    if edges && bytes.iter().all(|&byte| alphanumeric(byte) || byte == b'-' || (dots && byte == b'.')) {
        Ok(())
    } else {
        Err(NameError::Character { name: name.chars().take(80).collect() })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $limit:expr, $dots:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Validates and wraps a name.
            ///
            /// # Errors
            /// [`NameError`] says what a DNS-1123 name looks like.
            pub fn new(name: &str) -> Result<Self, NameError> {
                validate(name, $limit, $dots)?;
                Ok(Self(name.into()))
            }

            /// The name as the API writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
    };
}

name!(
    /// The name of a node (`Node.metadata.name`, `Pod.spec.nodeName`).
    NodeName,
    SUBDOMAIN_LIMIT,
    true
);
name!(
    /// The name of a namespace (`metadata.namespace`).
    NamespaceName,
    LABEL_LIMIT,
    false
);
name!(
    /// The name of an object within its namespace (`metadata.name`).
    ObjectName,
    SUBDOMAIN_LIMIT,
    true
);

/// Namespace and name of an object; ordered by namespace first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// `metadata.namespace`.
    pub namespace: NamespaceName,
    /// `metadata.name`.
    pub name: ObjectName,
}

impl ObjectKey {
    /// Validates both parts.
    ///
    /// # Errors
    /// [`NameError`] of the first part that is no name.
    pub fn new(namespace: &str, name: &str) -> Result<Self, NameError> {
        Ok(Self { namespace: NamespaceName::new(namespace)?, name: ObjectName::new(name)? })
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The key of a pod.
pub type PodKey = ObjectKey;
/// The key of a network policy.
pub type PolicyKey = ObjectKey;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_api_accepts() {
        for name in ["a", "node-1", "ip-10-0-0-1.ec2.internal", "0"] {
            assert_eq!(NodeName::new(name).map(|n| n.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn refuses_what_the_api_refuses() {
        for name in ["-a", "a-", ".", "A", "a b", "a\"b", "a\nb", "a;b", "ä"] {
            assert!(matches!(NodeName::new(name), Err(NameError::Character { .. })), "{name:?}");
        }
        assert_eq!(NodeName::new(""), Err(NameError::Empty));
        assert_eq!(NodeName::new(&"a".repeat(254)), Err(NameError::TooLong { length: 254, limit: 253 }));
        assert!(NamespaceName::new("a.b").is_err(), "a namespace is a single label");
    }
}
