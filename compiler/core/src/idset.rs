//! Sets of small numbers: most hold one or two, some a hundred thousand.

use std::hash::{Hash, Hasher};

use roaring::RoaringBitmap;

/// So many need no allocation.
const INLINE: usize = 3;
/// Beyond this many a bitmap is smaller and faster than a slice.
const FEW: usize = 32;

/// The number that a key of a slab stands for.
pub(crate) fn number(key: usize) -> u32 {
    // Four billion objects do not fit into memory.
    u32::try_from(key).unwrap_or(u32::MAX)
}

/// A set of numbers, in order.
#[derive(Debug, Clone)]
pub(crate) struct IdSet(Form);

#[derive(Debug, Clone)]
enum Form {
    /// So many of these.
    Inline(u8, [u32; INLINE]),
    Few(Vec<u32>),
    Many(Box<RoaringBitmap>),
}

impl Default for IdSet {
    fn default() -> Self {
        Self(Form::Inline(0, [0; INLINE]))
    }
}

impl IdSet {
    /// The numbers as a slice, unless there are many.
    fn few(&self) -> Result<&[u32], &RoaringBitmap> {
        match &self.0 {
            Form::Inline(count, ids) => Ok(ids.get(..usize::from(*count)).unwrap_or_default()),
            Form::Few(ids) => Ok(ids),
            Form::Many(bitmap) => Err(bitmap),
        }
    }

    /// Adds `id`; whether it is new.
    pub(crate) fn insert(&mut self, id: u32) -> bool {
        let place = match self.few() {
            Ok(ids) => match ids.binary_search(&id) {
                Ok(_) => return false,
                Err(place) => place,
            },
            Err(_) => 0,
        };
        match &mut self.0 {
            Form::Inline(count, ids) if usize::from(*count) < INLINE => {
                // What moves up leaves room at its place.
                if let Some(tail) = ids.get_mut(place..=usize::from(*count)) {
                    tail.rotate_right(1);
                    tail.first_mut().into_iter().for_each(|first| *first = id);
                }
                *count += 1;
            }
            Form::Inline(_, ids) => {
                let mut all = Vec::with_capacity(INLINE + 1);
                all.extend_from_slice(ids);
                all.insert(place, id);
                self.0 = Form::Few(all);
            }
            Form::Few(ids) if ids.len() < FEW => ids.insert(place, id),
            Form::Few(ids) => {
                let mut bitmap: RoaringBitmap = ids.iter().copied().collect();
                bitmap.insert(id);
                self.0 = Form::Many(Box::new(bitmap));
            }
            Form::Many(bitmap) => return bitmap.insert(id),
        }
        true
    }

    /// Removes `id`; whether it was there.
    pub(crate) fn remove(&mut self, id: u32) -> bool {
        match &mut self.0 {
            Form::Many(bitmap) => {
                let removed = bitmap.remove(id);
                if bitmap.len() <= FEW as u64 / 2 {
                    self.0 = Form::Few(bitmap.iter().collect());
                }
                removed
            }
            Form::Few(ids) => {
                let Ok(place) = ids.binary_search(&id) else { return false };
                ids.remove(place);
                if ids.len() < INLINE {
                    *self = ids.iter().copied().collect();
                }
                true
            }
            Form::Inline(..) => {
                let before = self.len();
                *self = self.iter().filter(|other| *other != id).collect();
                self.len() < before
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self.few() {
            Ok(ids) => ids.len(),
            Err(bitmap) => usize::try_from(bitmap.len()).unwrap_or(usize::MAX),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let (few, many) = match self.few() {
            Ok(ids) => (ids, None),
            Err(bitmap) => (&[][..], Some(bitmap)),
        };
        few.iter().copied().chain(many.into_iter().flatten())
    }
}

impl FromIterator<u32> for IdSet {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        let mut set = Self::default();
        ids.into_iter().for_each(|id| _ = set.insert(id));
        set
    }
}

impl PartialEq for IdSet {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for IdSet {}

impl Hash for IdSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        self.iter().for_each(|id| state.write_u32(id));
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
                proptest::prop_assert_eq!(&set, &model.iter().copied().collect::<IdSet>());
            }
        }
    }
}
