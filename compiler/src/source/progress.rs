//! How far a source has read each kind, in versions that all replicas of the compiler share.
//!
//! A resource version is compared with those of its own kind only, as a decimal integer: that is what Kubernetes
//! promises since 1.35, and what its etcd revisions have been all along. One that is no such number compares with
//! nothing, and nothing waits for it.

use std::fmt;
use std::str::FromStr;

use tokio::time::Instant;

/// A watched kind, in the order in which kinds are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nodes.
    Node,
    /// Namespaces.
    Namespace,
    /// Pods.
    Pod,
    /// Network policies.
    NetworkPolicy,
    /// What CNI did on nodes.
    NodePods,
}

impl Kind {
    /// All kinds, in order.
    pub const ALL: [Self; 5] = [Self::Node, Self::Namespace, Self::Pod, Self::NetworkPolicy, Self::NodePods];

    /// `kind` of its objects.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::Namespace => "Namespace",
            Self::Pod => "Pod",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::NodePods => "NodePods",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A resource version that can be compared with others of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Version(u128);

/// A resource version that is no decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the resource version is no decimal number")]
pub struct NotComparable;

impl FromStr for Version {
    type Err = NotComparable;

    fn from_str(text: &str) -> Result<Self, NotComparable> {
        // A sign would parse, too.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).map(Self).ok_or(NotComparable)
    }
}

/// What begins a version that is written in base 36.
const LARGE: char = 'z';

impl Version {
    /// As positions have it: in decimal; beyond 64 bits, which no API server counts with so far, in base 36.
    #[must_use]
    pub fn short(self) -> String {
        if u64::try_from(self.0).is_ok() {
            return self.0.to_string();
        }
        let (mut rest, mut digits) = (self.0, Vec::new());
        while rest > 0 {
            digits.extend(u32::try_from(rest % 36).ok().and_then(|digit| char::from_digit(digit, 36)));
            rest /= 36;
        }
        [LARGE].into_iter().chain(digits.into_iter().rev()).collect()
    }

    /// What [`Self::short`] wrote.
    #[must_use]
    pub fn from_short(text: &str) -> Option<Self> {
        match text.strip_prefix(LARGE) {
            Some(digits) => u128::from_str_radix(digits, 36).ok().map(Self),
            None => text.parse().ok(),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a kind has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindProgress {
    /// The kind.
    pub kind: Kind,
    /// How far.
    pub reached: Reached,
}

/// What was read of a kind, with its versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// All objects: the newest change that made them so, as far as it can be told, and the version they were read at.
    Listing {
        /// The newest version of an object; that of the listing if objects were found to be gone, since nothing says
        /// when they went.
        newest: Version,
        /// The version of the listing.
        through: Version,
    },
    /// The change of one object, after all that came before it.
    Event(Version),
    /// Nothing more up to this version: a bookmark.
    Bookmark(Version),
    /// Nothing; but the store itself, asked past all caches, is at this version. What a watch brings may lag behind it.
    Store {
        /// The version.
        at: Version,
        /// When it was asked.
        asked: Instant,
    },
    /// Something whose version compares with nothing.
    Somewhere,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers_or_not_at_all() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("9") < version("10"));
        assert!(version("18446744073709551615") < version("18446744073709551616"));
        assert_eq!(version("184467440737095516160").to_string(), "184467440737095516160");
        for odd in ["", "+1", "-1", "a", "1a", "0x1", " 1", "1.0", &"9".repeat(40)] {
            assert_eq!(odd.parse::<Version>(), Err(NotComparable), "{odd:?}");
        }
    }
}
