//! The nftables script: bytes, their SHA-256, and the revision that names the state they reach.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// The SHA-256 of a script's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScriptHash([u8; 32]);

/// The bytes are not the ones that the hash was made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the script's SHA-256 is {found}, expected {expected}")]
pub struct HashMismatch {
    /// The hash that came with the script.
    pub expected: ScriptHash,
    /// The hash of the bytes that came.
    pub found: ScriptHash,
}

impl ScriptHash {
    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A hash as received; says nothing about any script.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, most significant first.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ScriptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ScriptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// An nftables script together with the hash of its bytes. Cloning shares the bytes.
///
/// ```text
/// compiler: Script::new(bytes) ─ bytes, hash ─▶ agent: Script::verified(bytes, hash) ─▶ guard ─▶ nft -f -
/// ```
///
/// Who receives one can only have it with bytes that the hash is of.
///
/// ```
/// use flock_shared::{Script, ScriptHash};
///
/// let script = Script::new("add table inet flock_netpol\n");
/// assert!(Script::verified(script.bytes().clone(), script.hash()).is_ok());
///
/// let other = ScriptHash::of(b"something else");
/// assert_eq!(Script::verified(script.bytes().clone(), other).unwrap_err().found, script.hash());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Script {
    bytes: Bytes,
    hash: ScriptHash,
}

impl Script {
    /// Wraps bytes that this process rendered, and hashes them.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let hash = ScriptHash::of(&bytes);
        Self { bytes, hash }
    }

    /// Wraps bytes that came from elsewhere, if they are the ones that `expected` was made of.
    ///
    /// # Errors
    /// [`HashMismatch`] with both hashes.
    pub fn verified(bytes: impl Into<Bytes>, expected: ScriptHash) -> Result<Self, HashMismatch> {
        let script = Self::new(bytes);
        if script.hash == expected { Ok(script) } else { Err(HashMismatch { expected, found: script.hash }) }
    }

    /// The script's bytes, what `nft -f -` reads.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The SHA-256 of the bytes.
    #[must_use]
    pub const fn hash(&self) -> ScriptHash {
        self.hash
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({} bytes, {})", self.bytes.len(), self.hash)
    }
}

/// Why a string is not a revision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a revision: expected {REVISION_LENGTH} lower case hexadecimal digits")]
pub struct RevisionError {
    /// The string, shortened for messages.
    pub found: String,
}

/// Hexadecimal digits of a revision.
pub const REVISION_LENGTH: usize = 32;

/// The name of a state of one node's table: 32 lower case hexadecimal digits, equal on every replica for equal
/// state. A revision is also part of the marker set's name, so nothing but hexadecimal digits may enter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision([u8; REVISION_LENGTH]);

impl Revision {
    /// The revision of a state whose canonical rendering hashes to `hash`: its first 128 bits.
    #[must_use]
    pub fn of(hash: ScriptHash) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
        let mut text = [0; REVISION_LENGTH];
        for (pair, byte) in text.chunks_exact_mut(2).zip(hash.as_bytes()) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        Self(text)
    }

    /// The hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Digits are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Revision {
    type Err = RevisionError;
    fn from_str(text: &str) -> Result<Self, RevisionError> {
        // No capitals: revisions are compared as they are spelt, here and in names of sets.
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match text.as_bytes().try_into() {
            Ok(digits) if text.bytes().all(hexadecimal) => Ok(Self(digits)),
            _ => Err(RevisionError { found: text.chars().take(80).collect() }),
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_is_noticed() {
        let script = Script::new(&b"add table inet t\n"[..]);
        assert_eq!(Script::verified(script.bytes().clone(), script.hash()), Ok(script.clone()));
        let changed = Script::verified(&b"add table inet u\n"[..], script.hash());
        assert!(matches!(changed, Err(HashMismatch { expected, .. }) if expected == script.hash()));
    }

    #[test]
    fn the_hash_is_sha256() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(ScriptHash::of(b"").to_string(), empty);
    }

    #[test]
    fn a_revision_is_hexadecimal_digits_only() {
        let revision = Revision::of(ScriptHash::of(b""));
        assert_eq!(revision.as_str(), "e3b0c44298fc1c149afbf4c8996fb924");
        assert_eq!(revision.as_str().parse(), Ok(revision.clone()));
        for bad in ["", "e3b0", "E3B0C44298FC1C149AFBF4C8996FB924", "e3b0c44298fc1c149afbf4c8996fb92;"] {
            assert!(bad.parse::<Revision>().is_err(), "{bad:?}");
        }
    }
}
