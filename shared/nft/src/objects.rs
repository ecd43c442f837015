//! Where the objects of a table go while it is laid out: into the model, or at once into the full script's text.

use std::fmt;
use std::ops::Range;

use flock_shared::steps::STEP_OBJECTS;

use crate::model::{Chain, Map, Set, Table};
use crate::name::{ChainName, MapName, SetName, TableName};
use crate::write::{FOOT, head, write_chain, write_map, write_set};

/// What stands around the objects of both tables, in bytes.
const BRACES: usize = 64;

/// Takes the objects of a table, in any order. What comes twice is equal.
pub trait Objects {
    /// A set.
    fn add_set(&mut self, name: SetName, set: Set);
    /// A verdict map.
    fn add_map(&mut self, name: MapName, map: Map);
    /// A chain.
    fn add_chain(&mut self, name: ChainName, chain: Chain);
    /// The table of family bridge, whether or not anything is in it.
    fn add_bridge(&mut self);
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

    fn add_bridge(&mut self) {
        self.bridge = true;
    }
}

/// The text of each object of a table. Nothing of the model is kept: a table of all nodes' parts would cost more than
/// writing them.
#[derive(Debug, Default)]
pub struct Texts {
    text: String,
    /// How many there are, and what they hold.
    count: usize,
    sets: Vec<(SetName, Range<usize>)>,
    maps: Vec<(MapName, Range<usize>)>,
    chains: Vec<(ChainName, Range<usize>)>,
    bridge: bool,
}

impl Objects for Texts {
    fn add_set(&mut self, name: SetName, set: Set) {
        // Beyond the limit there will be no script, so nothing more is written.
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

    fn add_bridge(&mut self) {
        self.bridge = true;
    }
}

fn written(out: &mut String, write: impl FnOnce(&mut String) -> fmt::Result) -> Range<usize> {
    let start = out.len();
    // Writing to a String cannot fail.
    let _: fmt::Result = write(out);
    start..out.len()
}

/// The places of texts in order of their names, each name once.
fn in_order<N: Ord>(mut objects: Vec<(N, Range<usize>)>) -> Vec<(N, Range<usize>)> {
    // Objects mostly come in order, which this sort makes use of.
    objects.sort_by(|(a, _), (b, _)| a.cmp(b));
    objects.dedup_by(|(a, _), (b, _)| a == b);
    objects
}

impl Texts {
    /// Takes one more object down; returns false if they are more than one step holds, and no text is made of them.
    const fn counted(&mut self, held: usize) -> bool {
        self.count = self.count.saturating_add(held).saturating_add(1);
        self.count <= STEP_OBJECTS
    }

    /// The full script of these objects, and `end` behind it: the same as [`super::write()`] makes of the table. `None`
    /// if they are more than one step holds.
    #[must_use]
    pub fn script(self, end: &str) -> Option<String> {
        let Self { text, count, sets, maps, chains, bridge } = self;
        if count > STEP_OBJECTS {
            return None;
        }
        let (sets, maps, chains) = (in_order(sets), in_order(maps), in_order(chains));
        let head = head(bridge);
        let mut out = String::with_capacity(head.len() + text.len() + BRACES + end.len());
        out.push_str(&head);
        for table in TableName::ALL.into_iter().filter(|table| bridge || *table == TableName::Inet) {
            out.push_str("table ");
            out.push_str(table.as_str());
            out.push_str(" {\n");
            let sets = sets.iter().filter(|(name, _)| name.table() == table).map(|(_, place)| place);
            let maps = maps.iter().filter(|_| table == TableName::Inet).map(|(_, place)| place);
            let chains = chains.iter().filter(|(name, _)| name.table() == table).map(|(_, place)| place);
            for place in sets.chain(maps).chain(chains) {
                out.push_str(text.get(place.clone()).unwrap_or_default());
            }
            out.push_str(FOOT);
        }
        out.push_str(end);
        Some(out)
    }
}
