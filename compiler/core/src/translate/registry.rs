//! A registry of parts that are shared: each identity once, with a name that no other identity of the kind has.
//!
//! A name is a pure function of the identities that are in the registry: the short hash, and where short hashes
//! collide the identity with it. So a newcomer can rename those it collides with, which the caller learns.

use slab::Slab;

use super::lookup::{Key, Lookup};
use crate::identity::{Hashed, Identity, Name};
use crate::idset::number;

/// One part.
#[derive(Debug)]
pub(super) struct Part<T> {
    pub(super) identity: Identity,
    pub(super) name: Name,
    /// How many hold the part.
    holders: u32,
    pub(super) value: T,
}

/// Parts of one kind.
#[derive(Debug)]
pub(super) struct Registry<T> {
    parts: Slab<Part<T>>,
    /// Parts by the short hash of their identities.
    by_short: Lookup,
    /// Parts whose names have changed since the caller last asked.
    renamed: Vec<u32>,
    /// Parts that may have lost their last holder.
    idle: Vec<u32>,
}

impl<T> Registry<T> {
    pub(super) fn new() -> Self {
        Self { parts: Slab::new(), by_short: Lookup::default(), renamed: Vec::new(), idle: Vec::new() }
    }

    /// The part of an identity, if it is known.
    pub(super) fn find(&self, wanted: &Hashed) -> Option<u32> {
        let key = self.by_short.key(&wanted.short);
        self.by_short.find(key, |id| self.get(id).is_some_and(|part| part.identity == wanted.identity))
    }

    /// The parts of one short hash: at most one, but for collisions.
    fn colliding(&self, key: Key, short: u64) -> Vec<u32> {
        let parts = self.by_short.all(key);
        parts.filter(|id| self.get(*id).is_some_and(|part| part.name.short() == short)).collect()
    }

    pub(super) fn get(&self, id: u32) -> Option<&Part<T>> {
        self.parts.get(id as usize)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Part<T>> {
        self.parts.get_mut(id as usize)
    }

    /// Adds a part that nobody holds yet; `value` is made of its name.
    pub(super) fn add(&mut self, new: Hashed, value: impl FnOnce(&Name) -> T) -> u32 {
        let Hashed { identity, short } = new;
        let key = self.by_short.key(&short);
        let others = self.colliding(key, short);
        let name = if others.is_empty() { Name::unique(short) } else { Name::colliding(short, identity) };
        if let [only] = *others
            && let Some(other) = self.parts.get_mut(only as usize)
        {
            other.name = Name::colliding(short, other.identity);
            self.renamed.push(only);
        }
        let value = value(&name);
        let id = number(self.parts.insert(Part { identity, name, holders: 0, value }));
        self.by_short.insert(key, id);
        self.idle.push(id);
        id
    }

    /// One more holds the part.
    pub(super) fn hold(&mut self, id: u32) {
        if let Some(part) = self.parts.get_mut(id as usize) {
            part.holders += 1;
        }
    }

    /// One fewer holds the part. It stays until [`Self::sweep`].
    pub(super) fn release(&mut self, id: u32) {
        if let Some(part) = self.parts.get_mut(id as usize) {
            part.holders -= 1;
            if part.holders == 0 {
                self.idle.push(id);
            }
        }
    }

    /// Removes the parts that nobody holds any more.
    pub(super) fn sweep(&mut self) -> Vec<(u32, Part<T>)> {
        let mut gone = Vec::new();
        let mut idle = std::mem::take(&mut self.idle);
        idle.sort_unstable();
        idle.dedup();
        for id in idle {
            if self.get(id).is_none_or(|part| part.holders > 0) {
                continue;
            }
            let part = self.parts.remove(id as usize);
            let short = part.name.short();
            let key = self.by_short.key(&short);
            self.by_short.remove(key, id);
            if let [only] = *self.colliding(key, short)
                && let Some(other) = self.parts.get_mut(only as usize)
            {
                other.name = Name::unique(short);
                self.renamed.push(only);
            }
            gone.push((id, part));
        }
        gone
    }

    /// Whether parts have new names; forgets it.
    pub(super) fn take_renamed(&mut self) -> bool {
        !std::mem::take(&mut self.renamed).is_empty()
    }

    /// Every part.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Part<T>)> {
        self.parts.iter_mut().map(|(key, part)| (number(key), part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Digest;

    fn identity(number: u8) -> Hashed {
        let mut digest = Digest::new();
        digest.tag(number);
        Hashed::new(digest.finish(), |_| 7)
    }

    fn names(registry: &Registry<()>) -> Vec<String> {
        let mut names: Vec<String> = registry.parts.iter().map(|(_, part)| part.name.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn colliding_names_differ_and_depend_on_who_is_there_alone() {
        let mut forwards = Registry::new();
        let mut backwards = Registry::new();
        for number in 0..3 {
            let id = forwards.add(identity(number), |_| ());
            forwards.hold(id);
            let id = backwards.add(identity(2 - number), |_| ());
            backwards.hold(id);
        }
        assert!(forwards.take_renamed());
        assert_eq!(names(&forwards), names(&backwards));
        let mut distinct = names(&forwards);
        distinct.dedup();
        assert_eq!(distinct.len(), 3);
        for number in 1..3 {
            forwards.release(forwards.find(&identity(number)).unwrap());
        }
        assert_eq!(forwards.sweep().len(), 2);
        assert!(forwards.take_renamed());
        assert_eq!(names(&forwards), ["0000000000000007"]);
    }
}
