//! How often each of some numbers is referred to: mostly a few numbers, so a slice, and nothing is allocated for them.

use std::collections::BTreeMap;

use smallvec::SmallVec;

/// So many need no allocation.
const INLINE: usize = 3;
/// Beyond so many a tree is faster.
const FEW: usize = 32;

/// Numbers with their counts, in order. What is referred to no more is not in it.
#[derive(Debug)]
pub(super) enum Counts {
    Few(SmallVec<[(u32, u32); INLINE]>),
    Many(BTreeMap<u32, u32>),
}

impl Default for Counts {
    fn default() -> Self {
        Self::Few(SmallVec::new())
    }
}

impl Counts {
    /// One more refers to a number; how many do now.
    pub(super) fn add(&mut self, id: u32) -> u32 {
        let place = match self {
            Self::Few(few) => match few.binary_search_by_key(&id, |(id, _)| *id) {
                Err(place) if few.len() < FEW => {
                    few.insert(place, (id, 1));
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
        count.map_or(0, |count| {
            *count += 1;
            *count
        })
    }

    /// One fewer refers to a number; how many still do. `None`: nobody did.
    pub(super) fn remove(&mut self, id: u32) -> Option<u32> {
        match self {
            Self::Few(few) => {
                let place = few.binary_search_by_key(&id, |(id, _)| *id).ok()?;
                let (_, count) = few.get_mut(place)?;
                *count -= 1;
                let left = *count;
                if left == 0 {
                    few.remove(place);
                }
                Some(left)
            }
            Self::Many(many) => {
                let count = many.get_mut(&id)?;
                *count -= 1;
                let left = *count;
                if left == 0 {
                    many.remove(&id);
                }
                if many.len() <= FEW / 2 {
                    *self = Self::Few(std::mem::take(many).into_iter().collect());
                }
                Some(left)
            }
        }
    }

    /// The numbers with their counts, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        let (few, many) = match self {
            Self::Few(few) => (few.as_slice(), None),
            Self::Many(many) => (&[][..], Some(many)),
        };
        let many = many.into_iter().flatten().map(|(id, count)| (*id, *count));
        few.iter().copied().chain(many)
    }

    /// The numbers, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        self.iter().map(|(id, _)| id)
    }

    /// How many numbers there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn counts_are_those_of_a_map(steps in proptest::collection::vec((0u32..48, proptest::bool::weighted(0.6)), 0..400)) {
            let (mut counts, mut model) = (Counts::default(), BTreeMap::<u32, u32>::new());
            for (id, more) in steps {
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
