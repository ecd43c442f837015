//! Where the objects of a table go while it is laid out: into the model, or at once into the full script's text.

use std::fmt;
use std::ops::Range;

use crate::model::{Chain, Map, Set, Table};
use crate::name::{ChainName, MapName, SetName};
use crate::write::{FOOT, head, write_chain, write_map, write_set};

/// Takes the objects of a table, in any order. What comes twice is equal.
pub trait Objects {
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
pub struct Texts {
    text: String,
    sets: Vec<(SetName, Range<usize>)>,
    maps: Vec<(MapName, Range<usize>)>,
    chains: Vec<(ChainName, Range<usize>)>,
}

impl Objects for Texts {
    fn add_set(&mut self, name: SetName, set: Set) {
        let place = written(&mut self.text, |out| write_set(out, &name, &set));
        self.sets.push((name, place));
    }

    fn add_map(&mut self, name: MapName, map: Map) {
        let place = written(&mut self.text, |out| write_map(out, &name, &map));
        self.maps.push((name, place));
    }

    fn add_chain(&mut self, name: ChainName, chain: Chain) {
        let place = written(&mut self.text, |out| write_chain(out, &name, &chain));
        self.chains.push((name, place));
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
    /// The full script of these objects, and `end` behind it: the same as [`super::write()`] makes of the table.
    pub fn script(self, end: &str) -> String {
        let Self { text, sets, maps, chains } = self;
        let head = head();
        let mut out = String::with_capacity(head.len() + text.len() + FOOT.len() + end.len());
        out.push_str(&head);
        for place in in_order(sets).chain(in_order(maps)).chain(in_order(chains)) {
            out.push_str(text.get(place).unwrap_or_default());
        }
        out.push_str(FOOT);
        out.push_str(end);
        out
    }
}
