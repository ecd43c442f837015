//! Sets of ids: most hold one or two, some a hundred thousand.

use std::fmt;
use std::hash::{Hash, Hasher};

use roaring::RoaringBitmap;

use crate::collections::ids::Id;

/// So many need no allocation.
const INLINE: usize = 3;
/// Beyond this many a bitmap is smaller and faster than a slice.
const FEW: usize = 32;

/// A set of ids, in order.
#[derive(Clone)]
pub(crate) struct IdSet<I>(Storage<I>);

#[derive(Clone)]
enum Storage<I> {
    /// So many of these.
    Inline(u8, [I; INLINE]),
    Few(Vec<I>),
    Many(Box<RoaringBitmap>),
}

impl<I: Id> Default for IdSet<I> {
    fn default() -> Self {
        Self(Storage::Inline(0, [I::FIRST; INLINE]))
    }
}

impl<I: Id> IdSet<I> {
    /// The ids as a slice, unless there are many.
    fn few(&self) -> Result<&[I], &RoaringBitmap> {
        match &self.0 {
            Storage::Inline(count, ids) => Ok(ids.get(..usize::from(*count)).unwrap_or_default()),
            Storage::Few(ids) => Ok(ids),
            Storage::Many(bitmap) => Err(bitmap),
        }
    }

    /// Adds `id`. Returns true if it is new.
    pub(crate) fn insert(&mut self, id: I) -> bool {
        let place = match self.few() {
            Ok(ids) => match ids.binary_search(&id) {
                Ok(_) => return false,
                Err(place) => place,
            },
            Err(_) => 0,
        };
        match &mut self.0 {
            Storage::Inline(count, ids) if usize::from(*count) < INLINE => {
                // What moves up leaves room at its place.
                if let Some(tail) = ids.get_mut(place..=usize::from(*count)) {
                    tail.rotate_right(1);
                    tail.first_mut().into_iter().for_each(|first| *first = id);
                }
                *count += 1;
            }
            Storage::Inline(_, ids) => {
                let mut all = Vec::with_capacity(INLINE + 1);
                all.extend_from_slice(ids);
                all.insert(place, id);
                self.0 = Storage::Few(all);
            }
            Storage::Few(ids) if ids.len() < FEW => ids.insert(place, id),
            Storage::Few(ids) => {
                let mut bitmap: RoaringBitmap = ids.iter().map(|id| id.number()).collect();
                bitmap.insert(id.number());
                self.0 = Storage::Many(Box::new(bitmap));
            }
            Storage::Many(bitmap) => return bitmap.insert(id.number()),
        }
        true
    }

    /// Removes `id`. Returns true if it was there.
    pub(crate) fn remove(&mut self, id: I) -> bool {
        match &mut self.0 {
            Storage::Many(bitmap) => {
                let removed = bitmap.remove(id.number());
                // At half of it, so that one id that comes and goes does not have it converted again and again.
                if bitmap.len() <= FEW as u64 / 2 {
                    self.0 = Storage::Few(bitmap.iter().map(I::of).collect());
                }
                removed
            }
            Storage::Few(ids) => {
                let Ok(place) = ids.binary_search(&id) else { return false };
                ids.remove(place);
                // Below what fits and not at it, for the same reason.
                if ids.len() < INLINE {
                    *self = ids.iter().copied().collect();
                }
                true
            }
            Storage::Inline(..) => {
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = I> + '_ {
        let (few, many) = match self.few() {
            Ok(ids) => (ids, None),
            Err(bitmap) => (&[][..], Some(bitmap)),
        };
        few.iter().copied().chain(many.into_iter().flatten().map(I::of))
    }
}

impl<I: Id> fmt::Debug for IdSet<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<I: Id> FromIterator<I> for IdSet<I> {
    fn from_iter<T: IntoIterator<Item = I>>(ids: T) -> Self {
        let mut set = Self::default();
        ids.into_iter().for_each(|id| _ = set.insert(id));
        set
    }
}

impl<I: Id> PartialEq for IdSet<I> {
    fn eq(&self, other: &Self) -> bool {
        // However they are stored: what has shrunk may still be stored as when it was larger.
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<I: Id> Eq for IdSet<I> {}

impl<I: Id> Hash for IdSet<I> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        self.iter().for_each(|id| id.hash(state));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::collections::ids::PodId;

    proptest::proptest! {
        #[test]
        fn behaves_as_a_set(steps in proptest::collection::vec((proptest::bool::ANY, 0u32..100), 0..400)) {
            let (mut set, mut model) = (IdSet::default(), BTreeSet::new());
            for (add, number) in steps {
                let id = PodId::of(number);
                if add {
                    proptest::prop_assert_eq!(set.insert(id), model.insert(id));
                } else {
                    proptest::prop_assert_eq!(set.remove(id), model.remove(&id));
                }
                proptest::prop_assert_eq!(set.len(), model.len());
                proptest::prop_assert!(set.iter().eq(model.iter().copied()));
                proptest::prop_assert_eq!(&set, &model.iter().copied().collect::<IdSet<PodId>>());
            }
        }
    }
}
