//! Identities and the names made of them.
//!
//! Tenants choose labels, so they can choose what gets hashed: an identity is a SHA-256, a name is the short FNV-1a
//! of it. Two identities with one FNV-1a value are told apart by a suffix that depends on the identities alone.

use std::fmt;
use std::hash::Hasher as _;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// What a value is, as 256 bits; equal values have equal identities and others do not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity([u8; 32]);

impl Identity {
    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A value that can say what it is, unambiguously: variable parts carry their length.
pub trait Identify {
    /// Feeds the value.
    fn identify(&self, digest: &mut Digest);

    /// The value's identity.
    fn identity(&self) -> Identity {
        let mut digest = Digest::new();
        self.identify(&mut digest);
        digest.finish()
    }
}

/// Collects a value's parts.
pub struct Digest(Sha256);

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

impl Digest {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Sha256::new())
    }

    /// The identity of all parts so far.
    #[must_use]
    pub fn finish(self) -> Identity {
        Identity(self.0.finalize().into())
    }

    /// Bytes whose length the parts before them tell.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// A name.
    pub fn name(&mut self, name: &Name) {
        self.0.update(name.short.to_be_bytes());
        match &name.colliding {
            None => self.tag(0),
            Some(identity) => {
                self.tag(1);
                self.inner(identity);
            }
        }
    }

    /// A fixed-size tag, such as a variant.
    pub fn tag(&mut self, tag: u8) {
        self.0.update([tag]);
    }

    /// A number.
    pub fn number(&mut self, number: u128) {
        self.0.update(number.to_be_bytes());
    }

    /// A count of parts that follow.
    pub fn count(&mut self, count: usize) {
        self.0.update((count as u64).to_be_bytes());
    }

    /// A string with its length.
    pub fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text.as_bytes());
    }

    /// Another value's identity.
    pub fn inner(&mut self, identity: &Identity) {
        self.0.update(identity.0);
    }

    /// Parts with their count.
    pub fn each<'a, T: Identify + 'a>(&mut self, parts: impl ExactSizeIterator<Item = &'a T>) {
        self.count(parts.len());
        parts.for_each(|part| part.identify(self));
    }
}

/// The variable part of a set's or chain's name: 16 hexadecimal digits, which are the short hash of an identity. Where
/// short hashes collide, every name that would be the same goes on with `_` and 64 more digits, the identity itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    short: u64,
    colliding: Option<Arc<Identity>>,
}

impl Name {
    /// The name of an identity whose short hash no other one has.
    #[must_use]
    pub const fn unique(short: u64) -> Self {
        Self { short, colliding: None }
    }

    /// The name of an identity whose short hash others have too.
    #[must_use]
    pub fn colliding(short: u64, identity: Identity) -> Self {
        Self { short, colliding: Some(Arc::new(identity)) }
    }

    /// The short hash, which orders names first.
    #[must_use]
    pub const fn short(&self) -> u64 {
        self.short
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As {:016x} would, which takes a good part of writing a script.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 16];
        for (place, digit) in text.iter_mut().enumerate() {
            // Four bits.
            let nibble = usize::try_from(self.short >> (60 - 4 * place) & 15).unwrap_or_default();
            *digit = DIGITS.get(nibble).copied().unwrap_or_default();
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())?;
        match &self.colliding {
            None => Ok(()),
            Some(identity) => write!(f, "_{identity}"),
        }
    }
}

/// A text is not the variable part of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 16 hexadecimal digits, and perhaps _ with 64 more")]
pub struct NotAName;

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (short, long) = text.split_once('_').map_or((text, None), |(short, long)| (short, Some(long)));
        let short = u64::from_str_radix(digits(short, 16)?, 16).map_err(|_| NotAName)?;
        let Some(long) = long else { return Ok(Self::unique(short)) };
        let long = digits(long, 64)?;
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            let pair = long.get(2 * place..2 * place + 2).ok_or(NotAName)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotAName)?;
        }
        Ok(Self::colliding(short, Identity(bytes)))
    }
}

/// So many lower-case hexadecimal digits: what a number is parsed of may have a sign too.
fn digits(text: &str, count: usize) -> Result<&str, NotAName> {
    let all = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if all && text.len() == count { Ok(text) } else { Err(NotAName) }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The short hash that names are made of. A parameter, so that tests can make every name collide.
pub type ShortHash = fn(&Identity) -> u64;

/// An identity with its short hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    /// The identity.
    pub identity: Identity,
    /// Its short hash.
    pub short: u64,
}

impl Hashed {
    /// An identity with its short hash.
    #[must_use]
    pub fn new(identity: Identity, hash: ShortHash) -> Self {
        Self { identity, short: hash(&identity) }
    }
}

/// FNV-1a, 64 bits.
#[must_use]
pub fn fnv1a(identity: &Identity) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(&identity.0);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_be_shifted_between_strings() {
        struct Two(&'static str, &'static str);
        impl Identify for Two {
            fn identify(&self, digest: &mut Digest) {
                digest.text(self.0);
                digest.text(self.1);
            }
        }
        assert_ne!(Two("ab", "c").identity(), Two("a", "bc").identity());
    }
}
