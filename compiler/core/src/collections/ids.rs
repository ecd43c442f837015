//! Ids: a type for each kind of thing that the translation keeps, so that none is looked up among things of another kind.
//!
//! An id is a number of four bytes, and is given again once its thing is gone: whoever remembers ids is told when a thing
//! goes, or looks whether it is still there.

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

use slab::Slab;

use crate::invariant::bug;

/// The id of things of one kind.
pub(crate) trait Id: Copy + Ord + Hash + fmt::Debug + Send + Sync + 'static {
    /// No other comes before it.
    const FIRST: Self;
    /// No other comes after it.
    const LAST: Self;

    /// The id with this number.
    fn of(number: u32) -> Self;

    /// Its number.
    fn number(self) -> u32;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(u32);

        impl Id for $name {
            const FIRST: Self = Self(0);
            const LAST: Self = Self(u32::MAX);

            fn of(number: u32) -> Self {
                Self(number)
            }

            fn number(self) -> u32 {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($word, "#{}"), self.0)
            }
        }
    )*};
}

ids! {
    /// A pod.
    PodId = "pod",
    /// A node that has an object or a pod.
    NodeId = "node",
    /// A namespace that has an object, or that something refers to.
    NamespaceId = "namespace",
    /// The rules of a policy in one direction, once for all policies that have the same.
    RulesId = "rules",
    /// What the policies of a namespace say that select the same pods.
    RuleUsesId = "uses of rules",
    /// Pods of a namespace to which the same rules apply in one direction.
    GroupId = "group",
    /// A merged rule set.
    RuleSetId = "rule-set",
    /// A union of peers with a chain of its own.
    UnionId = "union",
    /// A set of pods or destinations.
    SetId = "set",
    /// A set of IPv4 blocks.
    Blocks4Id = "blocks4",
    /// A set of IPv6 blocks.
    Blocks6Id = "blocks6",
    /// A selector of pods that some set is made of.
    PeerId = "peer",
    /// A selector of namespaces that some peer uses.
    SelectorId = "selector",
}

/// Things of one kind under ids of their own.
#[derive(Debug)]
pub(crate) struct Arena<I, T> {
    things: Slab<T>,
    ids: PhantomData<fn() -> I>,
}

impl<I, T> Default for Arena<I, T> {
    fn default() -> Self {
        Self { things: Slab::new(), ids: PhantomData }
    }
}

/// The id that a key of a slab stands for.
fn id<I: Id>(key: usize) -> I {
    // Four billion things do not fit into memory.
    I::of(u32::try_from(key).unwrap_or(u32::MAX))
}

fn key(id: impl Id) -> usize {
    id.number() as usize
}

impl<I: Id, T> Arena<I, T> {
    /// Adds a thing; the id that it has from now on, perhaps that of one that is gone.
    pub(crate) fn insert(&mut self, thing: T) -> I {
        id(self.things.insert(thing))
    }

    /// Takes a thing out that is there: `None` is a broken invariant.
    #[track_caller]
    pub(crate) fn remove(&mut self, id: I) -> Option<T> {
        let thing = self.things.try_remove(key(id));
        if thing.is_none() {
            bug!("{id:?} is not there to be removed");
        }
        thing
    }

    /// A thing that is there: `None` is a broken invariant.
    #[track_caller]
    pub(crate) fn there(&self, id: I) -> Option<&T> {
        let thing = self.things.get(key(id));
        if thing.is_none() {
            bug!("{id:?} is not there");
        }
        thing
    }

    /// The same, to change it.
    #[track_caller]
    pub(crate) fn there_mut(&mut self, id: I) -> Option<&mut T> {
        let thing = self.things.get_mut(key(id));
        if thing.is_none() {
            bug!("{id:?} is not there");
        }
        thing
    }

    /// A thing that may be gone, and another may have its id.
    pub(crate) fn get(&self, id: I) -> Option<&T> {
        self.things.get(key(id))
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, id: I) -> Option<&mut T> {
        self.things.get_mut(key(id))
    }

    /// Every thing with its id, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        self.things.iter().map(|(key, thing)| (id(key), thing))
    }

    /// The ids of all things, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = I> {
        self.iter().map(|(id, _)| id)
    }

    /// How many things there are.
    pub(crate) fn len(&self) -> usize {
        self.things.len()
    }

    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.things.reserve(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_of_what_and_takes_no_more_room_than_its_number() {
        let mut arena: Arena<PodId, &str> = Arena::default();
        let (a, b) = (arena.insert("a"), arena.insert("b"));
        assert_eq!(format!("{a:?} {:?}", RuleSetId::of(7)), "pod#0 rule-set#7");
        assert_eq!(size_of::<PodId>(), size_of::<u32>());
        assert_eq!((arena.remove(a), arena.get(a), arena.there(b)), (Some("a"), None, Some(&"b")));
        assert!(arena.ids().eq([b]));
        assert_eq!((arena.insert("c"), arena.len()), (a, 2), "ids are given again");
    }

    #[test]
    #[should_panic(expected = "pod#3 is not there")]
    fn what_ought_to_be_there_and_is_not_is_a_broken_invariant() {
        Arena::<PodId, &str>::default().there(PodId::of(3));
    }
}
