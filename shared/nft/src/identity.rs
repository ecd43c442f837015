//! Identities and the names made of them.
//!
//! Tenants choose labels, so they can choose what gets hashed: an identity is a SHA-256, and a name 128 bits of FNV-1a of
//! it. Who looks for two identities with one name has to find them among SHA-256 values, by trying.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// What a value is, as 256 bits; equal values have equal identities and others do not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity([u8; 32]);

impl Hash for Identity {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // In one piece, which takes less time than its length beside it.
        hasher.write(&self.0);
    }
}

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
pub struct Digest {
    hasher: Sha256,
    /// Parts that are still to be hashed, up to a length: feeding short pieces takes longer than hashing them.
    pending: [u8; Self::AT_ONCE],
    length: usize,
}

impl Default for Digest {
    fn default() -> Self {
        Self { hasher: Sha256::new(), pending: [0; Self::AT_ONCE], length: 0 }
    }
}

impl Digest {
    const AT_ONCE: usize = 512;

    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The identity of all parts so far.
    #[must_use]
    pub fn finish(mut self) -> Identity {
        self.hash_pending();
        Identity(self.hasher.finalize().into())
    }

    /// Bytes whose length the parts before them tell.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        match self.pending.get_mut(self.length..end) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.length = end;
            }
            None => self.overflow(bytes),
        }
    }

    /// A piece that does not fit beside what is pending.
    #[cold]
    fn overflow(&mut self, bytes: &[u8]) {
        self.hash_pending();
        match self.pending.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.length = bytes.len();
            }
            // Longer than all that is kept back: to copy it first would gain nothing.
            None => self.hasher.update(bytes),
        }
    }

    fn hash_pending(&mut self) {
        self.hasher.update(self.pending.get(..self.length).unwrap_or_default());
        self.length = 0;
    }

    /// An address, preceded by its family.
    pub fn address(&mut self, address: &IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.tag(4);
                self.bytes(&address.octets());
            }
            IpAddr::V6(address) => {
                self.tag(6);
                self.bytes(&address.octets());
            }
        }
    }

    /// A name.
    pub fn name(&mut self, name: &Name) {
        self.bytes(&name.first.to_be_bytes());
        // Or a name of 16 digits could pass for the first half of another.
        self.tag(u8::from(name.last.is_some()));
        name.last.into_iter().for_each(|last| self.bytes(&last.get().to_be_bytes()));
    }

    /// A fixed-size tag, such as a variant.
    pub fn tag(&mut self, tag: u8) {
        self.bytes(&[tag]);
    }

    /// A number.
    pub fn number(&mut self, number: u128) {
        self.bytes(&number.to_be_bytes());
    }

    /// A count of parts that follow.
    pub fn count(&mut self, count: usize) {
        self.bytes(&(count as u64).to_be_bytes());
    }

    /// A string with its length.
    pub fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes(text.as_bytes());
    }

    /// Another value's identity.
    pub fn inner(&mut self, identity: &Identity) {
        self.bytes(&identity.0);
    }

    /// Parts with their count.
    pub fn each<'a, T: Identify + 'a>(&mut self, parts: impl ExactSizeIterator<Item = &'a T>) {
        self.count(parts.len());
        parts.for_each(|part| part.identify(self));
    }
}

/// The variable part of a set's or chain's name: 32 hexadecimal digits, the FNV-1a of each half of an identity.
///
/// Names are taken for identities wherever tables are compared, so that two identities with one name must never reach a
/// table: who interns identities compares them whole (see the core's `Interner`).
///
/// Up to layout 7 names had 16 digits. Agents still read those, and write them as they were: they find them in what they
/// saved, and compilers that are not upgraded yet send them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    first: u64,
    /// `None`: a name of 16 digits. It takes no room that way.
    last: Option<NonZeroU64>,
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let last = self.last.map_or(0, NonZeroU64::get);
        // In one piece.
        hasher.write_u128(u128::from(self.first) << 64 | u128::from(last));
    }
}

impl Name {
    /// The digits of half a name.
    const HALF: usize = 16;

    /// The name of an identity.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        let half = |from| fnv1a(identity.0.get(from..from + 16).unwrap_or_default());
        Self::new(half(0), half(16))
    }

    /// The name of these halves, of which the last is 1 instead of 0.
    #[must_use]
    pub const fn new(first: u64, last: u64) -> Self {
        let last = match NonZeroU64::new(last) {
            Some(last) => last,
            None => NonZeroU64::MIN,
        };
        Self { first, last: Some(last) }
    }

    /// Its first half, which orders names first.
    #[must_use]
    pub const fn first(self) -> u64 {
        self.first
    }

    /// Its last half; of a name of 16 digits the only one.
    #[must_use]
    pub const fn last(self) -> u64 {
        match self.last {
            Some(last) => last.get(),
            None => self.first,
        }
    }
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.last.map(NonZeroU64::get);
        let digits = [self.first, last.unwrap_or_default()].map(digits);
        let shown = digits.as_flattened().get(..if last.is_some() { 2 * Self::HALF } else { Self::HALF });
        f.write_str(std::str::from_utf8(shown.unwrap_or_default()).unwrap_or_default())
    }
}

/// Both digits of each byte.
const DIGITS: [[u8; 2]; 256] = {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let (mut all, mut byte) = ([[0; 2]; 256], 0);
    while byte < 256 {
        all[byte] = [HEX[byte >> 4], HEX[byte & 15]];
        byte += 1;
    }
    all
};

/// As {:016x} would, which takes a good part of writing a script.
fn digits(half: u64) -> [u8; Name::HALF] {
    let mut text = [0; Name::HALF];
    for (pair, byte) in text.chunks_exact_mut(2).zip(half.to_be_bytes()) {
        pair.copy_from_slice(&DIGITS[usize::from(byte)]);
    }
    text
}

/// A text is not the variable part of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 lower-case hexadecimal digits, of which the last 16 are not all 0")]
pub struct NotAName;

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let half = |text: &str| {
            // What a number is parsed of may have a sign, or capitals.
            let are_digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let number = u64::from_str_radix(text, 16).ok();
            number.filter(|_| are_digits && text.len() == Self::HALF).ok_or(NotAName)
        };
        let (first, last) = text.split_at_checked(Self::HALF).ok_or(NotAName)?;
        let last = if last.is_empty() { None } else { Some(NonZeroU64::new(half(last)?).ok_or(NotAName)?) };
        Ok(Self { first: half(first)?, last })
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
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

    #[test]
    fn a_name_holds_a_hash_of_each_half() {
        let of = |first: u8, last: u8| {
            let mut bytes = [7; 32];
            (bytes[0], bytes[31]) = (first, last);
            Name::of(&Identity(bytes)).to_string()
        };
        let (name, first, last) = (of(0, 0), of(1, 0), of(0, 1));
        assert_eq!(name.len(), 32);
        assert_eq!((&name[16..], &name[..16]), (&first[16..], &last[..16]));
        assert!(name[..16] != first[..16] && name[16..] != last[16..]);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let name = Name::new(0x0123_4567_89ab_cdef, 0xff);
        assert_eq!(name.to_string(), "0123456789abcdef00000000000000ff");
        assert_eq!(name.to_string().parse(), Ok(name));
        assert_eq!(Name::new(0, 0).to_string(), "00000000000000000000000000000001");
        let old: Name = "00000000000000ff".parse().unwrap();
        assert_eq!(old.to_string(), "00000000000000ff", "one of 16 digits stays one");
        for text in [
            "",
            "ff",
            "é00000000000000f",
            "00000000000000ff+000000000000001",
            "+123456789abcde",
            "0123456789ABCDEF",
            "0123456789abcdef0",
            "0123456789abcdef0000000000000000",
        ] {
            assert_eq!(text.parse::<Name>(), Err(NotAName), "{text}");
        }
    }
}
