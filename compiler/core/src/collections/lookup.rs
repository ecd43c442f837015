//! Ids by what they stand for, which is kept where the ids lead: a table of them takes nine bytes each.
//!
//! Tenants choose most of what is looked up, so hashes are keyed, by a function that is made to withstand who chooses.

use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashTable;

use crate::collections::ids::Id;
use crate::invariant::bug;

/// The hash of what an id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LookupKey(u32);

impl LookupKey {
    /// The table tells its slots apart by the lowest and the highest bits.
    fn spread(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Ids by key; several may have one.
#[derive(Debug)]
pub(crate) struct Lookup<I> {
    ids: HashTable<(LookupKey, I)>,
    keyed: RandomState,
}

impl<I> Default for Lookup<I> {
    fn default() -> Self {
        Self { ids: HashTable::new(), keyed: RandomState::new() }
    }
}

impl<I: Id> Lookup<I> {
    /// The key of a value in this table.
    pub(crate) fn key<T: Hash + ?Sized>(&self, value: &T) -> LookupKey {
        // Half of the bits tell enough: who finds an id compares what it stands for.
        LookupKey(u32::try_from(self.keyed.hash_one(value) >> 32).unwrap_or_default())
    }

    /// The ids under a key, in no order.
    pub(crate) fn all(&self, key: LookupKey) -> impl Iterator<Item = I> {
        let found = self.ids.iter_hash(key.spread());
        found.filter(move |(other, _)| *other == key).map(|(_, id)| *id)
    }

    /// The id under a key that stands for what is looked for.
    pub(crate) fn find(&self, key: LookupKey, mut is: impl FnMut(I) -> bool) -> Option<I> {
        self.ids.find(key.spread(), |(other, id)| *other == key && is(*id)).map(|(_, id)| *id)
    }

    /// Adds an id.
    pub(crate) fn insert(&mut self, key: LookupKey, id: I) {
        self.ids.insert_unique(key.spread(), (key, id), |(key, _)| key.spread());
    }

    /// Removes an id that was added under this key.
    pub(crate) fn remove(&mut self, key: LookupKey, id: I) {
        match self.ids.find_entry(key.spread(), |found| *found == (key, id)) {
            Ok(entry) => _ = entry.remove(),
            Err(_) => bug!("{id:?} is not under the key of what it stands for"),
        }
    }

    /// Makes room for more.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.ids.reserve(more, |(key, _)| key.spread());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::ids::PodId;

    #[test]
    fn ids_under_one_key_are_told_apart_by_what_they_stand_for() {
        let mut lookup = Lookup::default();
        let key = lookup.key("a");
        let seventh = PodId::of(7);
        (0..100).for_each(|number| lookup.insert(key, PodId::of(number)));
        assert_eq!(lookup.find(key, |id| id == seventh), Some(seventh));
        lookup.remove(key, seventh);
        assert_eq!(lookup.find(key, |id| id == seventh), None);
        assert_eq!(lookup.all(key).count(), 99);
        assert_eq!(lookup.all(lookup.key("b")).count(), 0);
    }
}
