//! Names of network interfaces on the host. An annotation can carry one, so a name is hostile until validated.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A Linux interface name that is safe between double quotes in an nft script: 1 to 15 of `A-Z a-z 0-9 . _ -`,
/// not `.` or `..` (`dev_valid_name`), and without nft's wildcard `*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(Arc<str>);

/// Why a string is not an interface name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not an interface name: expected 1 to 15 of A-Z a-z 0-9 . _ -")]
pub struct InterfaceError {
    /// The string, shortened for messages.
    pub found: String,
}

impl InterfaceName {
    /// The longest name, `IFNAMSIZ - 1`.
    pub const LIMIT: usize = 15;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = InterfaceError;

    fn from_str(name: &str) -> Result<Self, InterfaceError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let reserved = matches!(name, "" | "." | "..");
        if !reserved && name.len() <= Self::LIMIT && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(InterfaceError { found: name.chars().take(40).collect() })
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_newlines_and_wildcards_are_refused() {
        for bad in
            ["", ".", "..", "a b", "a\"b", "a\nb", "a*", "*", "a/b", "a{b", "a;b", "0123456789abcdef", "ä"]
        {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?}");
        }
        for good in ["cali1a2b3c4d5e6", "eth0.100", "veth-a_b"] {
            assert_eq!(good.parse::<InterfaceName>().unwrap().as_str(), good);
        }
    }
}
