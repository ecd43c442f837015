//! Sets of small numbers: most hold one or two, some a hundred thousand.

use roaring::RoaringBitmap;

/// Beyond this many a bitmap is smaller and faster than a slice.
const FEW: usize = 32;

/// A set of numbers, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum IdSet {
    Few(Vec<u32>),
    Many(RoaringBitmap),
}

impl Default for IdSet {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl IdSet {
    /// Adds `id`; whether it is new.
    pub(crate) fn insert(&mut self, id: u32) -> bool {
        match self {
            Self::Few(ids) => {
                let Err(place) = ids.binary_search(&id) else { return false };
                if ids.len() < FEW {
                    ids.insert(place, id);
                } else {
                    let mut bitmap: RoaringBitmap = ids.iter().copied().collect();
                    bitmap.insert(id);
                    *self = Self::Many(bitmap);
                }
                true
            }
            Self::Many(bitmap) => bitmap.insert(id),
        }
    }

    /// Removes `id`; whether it was there.
    pub(crate) fn remove(&mut self, id: u32) -> bool {
        match self {
            Self::Few(ids) => ids.binary_search(&id).is_ok_and(|place| {
                ids.remove(place);
                true
            }),
            Self::Many(bitmap) => {
                let removed = bitmap.remove(id);
                if bitmap.len() <= FEW as u64 / 2 {
                    *self = Self::Few(bitmap.iter().collect());
                }
                removed
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(ids) => ids.len(),
            Self::Many(bitmap) => usize::try_from(bitmap.len()).unwrap_or(usize::MAX),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match self {
            Self::Few(ids) => Box::new(ids.iter().copied()),
            Self::Many(bitmap) => Box::new(bitmap.iter()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::IdSet;

    proptest::proptest! {
        #[test]
        fn behaves_as_a_set(steps in proptest::collection::vec((proptest::bool::ANY, 0u32..100), 0..400)) {
            let (mut set, mut model) = (IdSet::default(), BTreeSet::new());
            for (add, id) in steps {
                if add {
                    proptest::prop_assert_eq!(set.insert(id), model.insert(id));
                } else {
                    proptest::prop_assert_eq!(set.remove(id), model.remove(&id));
                }
                proptest::prop_assert_eq!(set.len(), model.len());
                proptest::prop_assert!(set.iter().eq(model.iter().copied()));
            }
        }
    }
}
