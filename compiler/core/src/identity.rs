//! Identities and the names made of them.
//!
//! Tenants choose labels, so they can choose what gets hashed: an identity is a SHA-256, a name is the short FNV-1a
//! of it. Two identities with one FNV-1a value are told apart by a suffix that depends on the identities alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// What a value is, as 256 bits; equal values have equal identities and others do not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity([u8; 32]);

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
        let mut digest = Digest(Sha256::new());
        self.identify(&mut digest);
        Identity(digest.0.finalize().into())
    }
}

/// Collects a value's parts.
pub struct Digest(Sha256);

impl Digest {
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

/// The variable part of a set's or chain's name: 16 hexadecimal digits, and `_1`, `_2` … where identities collide.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The short hash that names are made of. A parameter, so that tests can make every name collide.
pub type ShortHash = fn(&Identity) -> u64;

/// FNV-1a, 64 bits.
#[must_use]
pub fn fnv1a(identity: &Identity) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(&identity.0);
    hasher.finish()
}

/// Names for a set of identities: a pure function of the set, never two identities with one name.
#[must_use]
pub fn name_all(identities: impl IntoIterator<Item = Identity>, hash: ShortHash) -> BTreeMap<Identity, Name> {
    let mut colliding: BTreeMap<u64, BTreeSet<Identity>> = BTreeMap::new();
    for identity in identities {
        colliding.entry(hash(&identity)).or_default().insert(identity);
    }
    let mut names = BTreeMap::new();
    for (short, identities) in colliding {
        for (index, identity) in identities.into_iter().enumerate() {
            let name = if index == 0 { format!("{short:016x}") } else { format!("{short:016x}_{index}") };
            names.insert(identity, Name(name.into()));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Text(&'static str);
    impl Identify for Text {
        fn identify(&self, digest: &mut Digest) {
            digest.text(self.0);
        }
    }

    #[test]
    fn colliding_names_differ_and_do_not_depend_on_order() {
        let identities: Vec<Identity> = ["a", "b", "c"].map(|text| Text(text).identity()).into();
        let same: ShortHash = |_| 7;
        let names = name_all(identities.iter().copied(), same);
        let reversed = name_all(identities.iter().rev().copied(), same);
        assert_eq!(names, reversed);
        let distinct: BTreeSet<&str> = names.values().map(Name::as_str).collect();
        assert_eq!(
            distinct.into_iter().collect::<Vec<_>>(),
            ["0000000000000007", "0000000000000007_1", "0000000000000007_2"]
        );
    }

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
