//! An interner of values that are shared: each identity once, under an id, for as long as somebody holds it.
//!
//! Tables know them by name only, and two identities may have one name. They are compared by identity here, and those
//! that share a name say so, for as long as they do: they must not reach a table.

use std::collections::BTreeSet;

use crate::collections::count::Count;
use crate::collections::ids::{Arena, Id};
use crate::collections::lookup::{Lookup, LookupKey};
use crate::identity::{Identity, Name};
use crate::invariant::bug;

/// One value, and what it is.
#[derive(Debug)]
pub(crate) struct Interned<T> {
    pub(crate) identity: Identity,
    pub(crate) name: Name,
    /// How many hold it.
    holders: Count,
    pub(crate) value: T,
}

/// Values of one kind.
#[derive(Debug)]
pub(crate) struct Interner<I, T> {
    parts: Arena<I, Interned<T>>,
    by_name: Lookup<I>,
    /// The names that several identities have.
    ambiguous: BTreeSet<Name>,
    /// Whether values have become ambiguous, or are not any more, since the caller last asked.
    news: bool,
    /// Values that may have lost their last holder.
    idle: Vec<I>,
}

impl<I: Id, T> Interner<I, T> {
    pub(crate) fn new() -> Self {
        let (parts, by_name) = (Arena::default(), Lookup::default());
        Self { parts, by_name, ambiguous: BTreeSet::new(), news: false, idle: Vec::new() }
    }

    /// The value of an identity, if it is known.
    pub(crate) fn find(&self, identity: &Identity, name: &Name) -> Option<I> {
        let key = self.by_name.key(name);
        self.by_name.find(key, |id| self.there(id).is_some_and(|part| part.identity == *identity))
    }

    /// The value of an identity that somebody holds.
    #[track_caller]
    pub(crate) fn id_of(&self, identity: &Identity, name: &Name) -> Option<I> {
        let found = self.find(identity, name);
        if found.is_none() {
            bug!("{name} is looked for, and nobody holds it");
        }
        found
    }

    /// How many values have a name, which has this key: at most one, but for collisions.
    fn count_of(&self, key: LookupKey, name: &Name) -> usize {
        self.by_name.all(key).filter(|id| self.there(*id).is_some_and(|part| part.name == *name)).count()
    }

    /// A value that is there: somebody holds it, or did so when it was last swept.
    #[track_caller]
    pub(crate) fn there(&self, id: I) -> Option<&Interned<T>> {
        self.parts.there(id)
    }

    /// The same, to change it.
    #[track_caller]
    pub(crate) fn there_mut(&mut self, id: I) -> Option<&mut Interned<T>> {
        self.parts.there_mut(id)
    }

    /// A value that may have been swept.
    pub(crate) fn get(&self, id: I) -> Option<&Interned<T>> {
        self.parts.get(id)
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, id: I) -> Option<&mut Interned<T>> {
        self.parts.get_mut(id)
    }

    /// Adds a value that nobody holds yet.
    pub(crate) fn add(&mut self, identity: Identity, name: Name, value: T) -> I {
        let id = self.parts.insert(Interned { identity, name, holders: Count::default(), value });
        let key = self.by_name.key(&name);
        self.by_name.insert(key, id);
        // If nobody comes to hold it, the next sweep takes it.
        self.idle.push(id);
        if self.count_of(key, &name) > 1 {
            self.ambiguous.insert(name);
            // Also where others have shared it before: this one has not been looked at.
            self.news = true;
        }
        id
    }

    /// Returns true if several values have this name.
    pub(crate) fn is_ambiguous(&self, name: &Name) -> bool {
        self.ambiguous.contains(name)
    }

    /// One more holds the value, which is there.
    pub(crate) fn hold(&mut self, id: I) -> Option<&T> {
        let part = self.parts.there_mut(id)?;
        part.holders.one_more();
        Some(&part.value)
    }

    /// One fewer holds the value. It stays until [`Self::sweep`].
    pub(crate) fn release(&mut self, id: I) {
        if let Some(part) = self.parts.there_mut(id)
            && part.holders.one_fewer() == 0
        {
            self.idle.push(id);
        }
    }

    /// Removes the values that nobody holds any more.
    pub(crate) fn sweep(&mut self) -> Vec<(I, Interned<T>)> {
        let mut gone = Vec::new();
        let mut idle = std::mem::take(&mut self.idle);
        idle.sort_unstable();
        idle.dedup();
        for id in idle {
            // It may be held again.
            if self.there(id).is_none_or(|part| !part.holders.is_zero()) {
                continue;
            }
            let Some(part) = self.parts.remove(id) else { continue };
            let key = self.by_name.key(&part.name);
            self.by_name.remove(key, id);
            if self.is_ambiguous(&part.name) && self.count_of(key, &part.name) < 2 {
                self.ambiguous.remove(&part.name);
                self.news = true;
            }
            gone.push((id, part));
        }
        gone
    }

    /// Returns true if values have become ambiguous, or are not any more, since this was last asked.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Every value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (I, &Interned<T>)> {
        self.parts.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::ids::SetId;
    use crate::identity::Digest;

    const NAME: Name = Name::new(0, 7);

    /// One of several identities with the same name.
    fn identity(number: u8) -> Identity {
        let mut digest = Digest::new();
        digest.tag(number);
        digest.finish()
    }

    fn held(numbers: impl IntoIterator<Item = u8>) -> Interner<SetId, u8> {
        let mut interner = Interner::new();
        for number in numbers {
            let id = interner.add(identity(number), NAME, number);
            interner.hold(id);
        }
        interner
    }

    #[test]
    fn identities_of_one_name_are_told_apart_and_noticed_for_as_long_as_they_share_it() {
        let mut interner = held([0]);
        assert!(!interner.take_news());
        for number in 1..3 {
            let id = interner.add(identity(number), NAME, number);
            interner.hold(id);
            assert!(interner.take_news());
        }
        for number in 0..3 {
            let id = interner.find(&identity(number), &NAME).unwrap();
            assert_eq!(interner.there(id).unwrap().value, number);
        }
        assert!(interner.is_ambiguous(&NAME));
        for number in 1..3 {
            assert!(!interner.take_news());
            interner.release(interner.find(&identity(number), &NAME).unwrap());
            assert_eq!(interner.sweep().len(), 1);
        }
        assert!(interner.take_news());
        assert!(!interner.is_ambiguous(&NAME));
    }
}
