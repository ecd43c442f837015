//! Numbers by what they stand for, which is kept where the numbers lead: a table of them takes nine bytes each.
//!
//! Tenants choose most of what is looked up, so hashes are keyed, by a function that is made to withstand who chooses.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use hashbrown::HashTable;

/// The hash of what a number stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u32);

impl Key {
    /// The table tells its slots apart by the lowest and the highest bits.
    fn spread(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Numbers by key; several may have one.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    numbers: HashTable<(Key, u32)>,
    keyed: RandomState,
}

impl Lookup {
    /// The key of a value in this table.
    pub(super) fn key<T: Hash + ?Sized>(&self, value: &T) -> Key {
        let mut hasher = Gathering::new(self.keyed.build_hasher());
        value.hash(&mut hasher);
        let hash = hasher.finish();
        // Half of the bits tell enough: who finds a number compares what it stands for.
        Key(u32::try_from(hash >> 32).unwrap_or_default())
    }

    /// The numbers under a key, in no order.
    pub(super) fn all(&self, key: Key) -> impl Iterator<Item = u32> {
        let found = self.numbers.iter_hash(key.spread());
        found.filter(move |(other, _)| *other == key).map(|(_, number)| *number)
    }

    /// The number under a key that stands for what is looked for.
    pub(super) fn find(&self, key: Key, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.numbers.find(key.spread(), |(other, id)| *other == key && is(*id)).map(|(_, id)| *id)
    }

    /// Adds a number.
    pub(super) fn insert(&mut self, key: Key, number: u32) {
        self.numbers.insert_unique(key.spread(), (key, number), |(key, _)| key.spread());
    }

    /// Removes a number.
    pub(super) fn remove(&mut self, key: Key, number: u32) {
        if let Ok(entry) = self.numbers.find_entry(key.spread(), |found| *found == (key, number)) {
            entry.remove();
        }
    }

    /// Makes room for more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.numbers.reserve(more, |(key, _)| key.spread());
    }
}

/// Hands the bytes of a value on in large pieces: objects consist of small ones, and a hasher of this kind takes longer
/// to be fed those than to hash them.
struct Gathering<H> {
    hasher: H,
    bytes: [u8; 128],
    length: usize,
}

impl<H: Hasher> Gathering<H> {
    const fn new(hasher: H) -> Self {
        Self { hasher, bytes: [0; 128], length: 0 }
    }

    fn gathered(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl<H: Hasher + Clone> Hasher for Gathering<H> {
    fn write(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(bytes);
            self.length = end;
            return;
        }
        self.hasher.write(self.bytes.get(..self.length).unwrap_or_default());
        self.length = 0;
        match self.bytes.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.length = bytes.len();
            }
            None => self.hasher.write(bytes),
        }
    }

    fn finish(&self) -> u64 {
        let mut hasher = self.hasher.clone();
        hasher.write(self.gathered());
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn gathered_bytes_hash_as_they_come(pieces in proptest::collection::vec(proptest::collection::vec(0u8.., 0..200), 0..20)) {
            let mut gathering = Gathering::new(std::hash::DefaultHasher::new());
            let mut plain = std::hash::DefaultHasher::new();
            pieces.iter().for_each(|piece| gathering.write(piece));
            plain.write(&pieces.concat());
            proptest::prop_assert_eq!(gathering.finish(), plain.finish());
        }
    }

    #[test]
    fn numbers_under_one_key_are_told_apart_by_what_they_stand_for() {
        let mut lookup = Lookup::default();
        let key = lookup.key("a");
        (0..100).for_each(|number| lookup.insert(key, number));
        assert_eq!(lookup.find(key, |number| number == 7), Some(7));
        lookup.remove(key, 7);
        assert_eq!(lookup.find(key, |number| number == 7), None);
        assert_eq!(lookup.all(key).count(), 99);
        assert_eq!(lookup.all(lookup.key("b")).count(), 0);
    }
}
