//! Where the objects of a table go while it is laid out: into the model, or at once into the full script's text.

use std::fmt;
use std::ops::Range;

use flock_shared::steps::STEP_OBJECTS;

use super::model::{Chain, Map, Set, Table};
use super::name::{ChainName, MapName, SetName};
use super::write::{FOOT, head, write_chain, write_map, write_set};

/// Takes the objects of a table, in any order. What comes twice is equal.
pub(crate) trait Objects {
    /// A set.
    fn add_set(&mut self, name: SetName, set: Set);
    /// A verdict map.
    fn add_map(&mut self, name: MapName, map: Map);
    /// A chain.
    fn add_chain(&mut self, name: ChainName, chain: Chain);
}

impl Objects for Table {
    fn add_set(&mut self, name: SetName, set: Set) {
        self.sets.insert(name, set);
    }

    fn add_map(&mut self, name: MapName, map: Map) {
        self.maps.insert(name, map);
    }

    fn add_chain(&mut self, name: ChainName, chain: Chain) {
        self.chains.insert(name, chain);
    }
}

/// The text of each object of a table. Nothing of the model is kept: a table of all nodes' parts would cost more than
/// writing them.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    text: String,
    /// How many there are, and what they hold.
    count: usize,
    sets: Vec<(SetName, Range<usize>)>,
    maps: Vec<(MapName, Range<usize>)>,
    chains: Vec<(ChainName, Range<usize>)>,
}

impl Objects for Texts {
    fn add_set(&mut self, name: SetName, set: Set) {
        if self.counted(set.content.len()) {
            let place = written(&mut self.text, |out| write_set(out, &name, &set));
            self.sets.push((name, place));
        }
    }

    fn add_map(&mut self, name: MapName, map: Map) {
        if self.counted(map.elements.len()) {
            let place = written(&mut self.text, |out| write_map(out, &name, &map));
            self.maps.push((name, place));
        }
    }

    fn add_chain(&mut self, name: ChainName, chain: Chain) {
        if self.counted(chain.rules.len()) {
            let place = written(&mut self.text, |out| write_chain(out, &name, &chain));
            self.chains.push((name, place));
        }
    }
}

fn written(out: &mut String, write: impl FnOnce(&mut String) -> fmt::Result) -> Range<usize> {
    let start = out.len();
    // Writing to a String cannot fail.
    let _: fmt::Result = write(out);
    start..out.len()
}

/// The places of texts in order of their names, each name once.
fn in_order<N: Ord>(mut objects: Vec<(N, Range<usize>)>) -> impl Iterator<Item = Range<usize>> {
    // Objects mostly come in order, which this sort makes use of.
    objects.sort_by(|(a, _), (b, _)| a.cmp(b));
    objects.dedup_by(|(a, _), (b, _)| a == b);
    objects.into_iter().map(|(_, place)| place)
}

impl Texts {
    /// Takes one more object down; returns false if they are more than one step holds, and no text is made of them.
    const fn counted(&mut self, held: usize) -> bool {
        self.count = self.count.saturating_add(held).saturating_add(1);
        self.count <= STEP_OBJECTS
    }

    /// The full script of these objects, and `end` behind it: the same as [`super::write()`] makes of the table. `None`
    /// if they are more than one step holds.
    pub(crate) fn script(self, end: &str) -> Option<String> {
        let Self { text, count, sets, maps, chains } = self;
        if count > STEP_OBJECTS {
            return None;
        }
        let head = head();
        let mut out = String::with_capacity(head.len() + text.len() + FOOT.len() + end.len());
        out.push_str(&head);
        for place in in_order(sets).chain(in_order(maps)).chain(in_order(chains)) {
            out.push_str(text.get(place).unwrap_or_default());
        }
        out.push_str(FOOT);
        out.push_str(end);
        Some(out)
    }
}
