//! How often each of some things is referred to: mostly a few things, so a slice, and nothing is allocated for them.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::collections::count::Count;
use crate::collections::ids::Id;

/// So many need no allocation.
const INLINE: usize = 3;
/// Beyond so many a tree is faster.
const FEW: usize = 32;

/// Ids with their counts, in order. What is referred to no more is not in it.
#[derive(Debug)]
pub(crate) enum Counts<I> {
    Few(SmallVec<[(I, Count); INLINE]>),
    Many(BTreeMap<I, Count>),
}

impl<I: Id> Default for Counts<I> {
    fn default() -> Self {
        Self::Few(SmallVec::new())
    }
}

impl<I: Id> Counts<I> {
    /// One more refers to a thing; how many do now.
    pub(crate) fn add(&mut self, id: I) -> u32 {
        let place = match self {
            Self::Few(few) => match few.binary_search_by_key(&id, |(id, _)| *id) {
                Err(place) if few.len() < FEW => {
                    few.insert(place, (id, Count::one()));
                    return 1;
                }
                Err(_) => {
                    *self = Self::Many(few.drain(..).collect());
                    None
                }
                Ok(place) => Some(place),
            },
            Self::Many(_) => None,
        };
        let count = match self {
            Self::Few(few) => place.and_then(|place| few.get_mut(place)).map(|(_, count)| count),
            Self::Many(many) => Some(many.entry(id).or_default()),
        };
        count.map_or(0, Count::one_more)
    }

    /// One fewer refers to a thing; how many still do. `None`: nobody did.
    pub(crate) fn remove(&mut self, id: I) -> Option<u32> {
        match self {
            Self::Few(few) => {
                let place = few.binary_search_by_key(&id, |(id, _)| *id).ok()?;
                let (_, count) = few.get_mut(place)?;
                let left = count.one_fewer();
                if left == 0 {
                    few.remove(place);
                }
                Some(left)
            }
            Self::Many(many) => {
                let left = many.get_mut(&id)?.one_fewer();
                if left == 0 {
                    many.remove(&id);
                }
                // At half of it, so that one id that comes and goes does not have it converted again and again.
                if many.len() <= FEW / 2 {
                    *self = Self::Few(std::mem::take(many).into_iter().collect());
                }
                Some(left)
            }
        }
    }

    /// The ids with their counts, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (I, u32)> {
        let (few, many) = match self {
            Self::Few(few) => (few.as_slice(), None),
            Self::Many(many) => (&[][..], Some(many)),
        };
        let many = many.into_iter().flatten().map(|(id, count)| (*id, *count));
        few.iter().copied().chain(many).map(|(id, count)| (id, count.get()))
    }

    /// The ids, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = I> {
        self.iter().map(|(id, _)| id)
    }

    /// How many ids there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::ids::PodId;

    proptest::proptest! {
        #[test]
        fn counts_are_those_of_a_map(steps in proptest::collection::vec((0u32..48, proptest::bool::weighted(0.6)), 0..400)) {
            let (mut counts, mut model) = (Counts::default(), BTreeMap::<PodId, u32>::new());
            for (number, more) in steps {
                let id = PodId::of(number);
                if more {
                    let count = model.entry(id).or_default();
                    *count += 1;
                    proptest::prop_assert_eq!(counts.add(id), *count);
                } else {
                    let left = model.get_mut(&id).map(|count| { *count -= 1; *count });
                    proptest::prop_assert_eq!(counts.remove(id), left);
                    model.retain(|_, count| *count > 0);
                }
                proptest::prop_assert_eq!(counts.len(), model.len());
                proptest::prop_assert!(counts.iter().eq(model.iter().map(|(id, count)| (*id, *count))));
            }
        }
    }
}
