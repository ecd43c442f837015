//! Transactions: the way from one table to another, which nft commits as a whole or not at all.
//!
//! What did not change is not touched: its counters go on. What nft 1.0.6 and the kernel want of the order:
//! additions stand in `table` blocks, which also add elements to sets that are there (`add element` would fetch the
//! elements of every interval set of the node, which takes 0.1 ms each); a key gets another verdict by deletion and
//! addition; an object goes only after all that refer to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use flock_shared::{BRIDGE_TABLE, TABLE};

use crate::members::{Changes, Members, SetElement};
use crate::model::{Content, Element, Map, Rule, Set, Table};
use crate::name::{ChainName, MapName, SetName, TableName};
use crate::write::{delete_elements, write_block, write_deletions, write_maps};

/// What most transactions come to, in bytes.
const SMALL: usize = 512;

/// The way from one table to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// New sets, maps and chains, and elements for those that are there; no key that a map has.
    pub added: Table,
    /// Those of the added sets that are new: until the rest is committed nothing refers to them.
    pub unused: BTreeSet<SetName>,
    /// Elements that sets lose.
    pub lost: BTreeMap<SetName, Set>,
    /// Keys that maps lose, or that get another verdict.
    pub lost_keys: BTreeMap<MapName, BTreeSet<Element>>,
    /// Keys that get another verdict.
    pub changed_keys: BTreeMap<MapName, Map>,
    /// Chains with other rules than before.
    pub rewritten: BTreeMap<ChainName, Vec<Rule>>,
    /// Chains that go.
    pub removed_chains: BTreeSet<ChainName>,
    /// Maps that go.
    pub removed_maps: BTreeSet<MapName>,
    /// Sets that go.
    pub removed_sets: BTreeSet<SetName>,
    /// Whether the table of family bridge goes, with all that is in it.
    pub removed_bridge: bool,
}

impl Transaction {
    /// The way from `old` to `new`. `None` where a set of ranges would have to be edited, for nft does not see which of
    /// its own deletions make room: such sets are named by what they hold, so that takes names that collide.
    #[must_use]
    pub fn between(old: &Table, new: &Table) -> Option<Self> {
        let mut transaction = Self::default();
        for (name, set) in &new.sets {
            match old.sets.get(name) {
                None => {
                    transaction.unused.insert(name.clone());
                    transaction.added.sets.insert(name.clone(), set.clone());
                }
                Some(before) if before == set => {}
                Some(before) => transaction.elements(name, before, set)?,
            }
        }
        for (name, map) in &new.maps {
            match old.maps.get(name) {
                None => drop(transaction.added.maps.insert(name.clone(), map.clone())),
                Some(before) if before == map => {}
                Some(before) => transaction.keys(name, before, map),
            }
        }
        for (name, chain) in &new.chains {
            match old.chains.get(name) {
                None => drop(transaction.added.chains.insert(name.clone(), chain.clone())),
                Some(before) if before == chain => {}
                // Where a chain hooks in follows from its name, so its rules are what differs.
                Some(_) => drop(transaction.rewritten.insert(name.clone(), chain.rules.clone())),
            }
        }
        transaction.removed_sets = gone(&old.sets, &new.sets);
        transaction.removed_maps = gone(&old.maps, &new.maps);
        transaction.removed_chains = gone(&old.chains, &new.chains);
        transaction.added.bridge = new.bridge && !old.bridge;
        transaction.removed_bridge = old.bridge && !new.bridge;
        // Whatever is in the table goes with it.
        if transaction.removed_bridge {
            transaction.removed_sets.retain(|name| name.table() != TableName::Bridge);
            transaction.removed_chains.retain(|name| name.table() != TableName::Bridge);
        }
        Some(transaction)
    }

    /// A set that stays gains and loses elements.
    fn elements(&mut self, name: &SetName, before: &Set, after: &Set) -> Option<()> {
        let (lost, gained) = match (&before.content, &after.content) {
            (Content::Members4(before), Content::Members4(after)) => {
                split(after.changes_since(before), Content::Members4)
            }
            (Content::Members6(before), Content::Members6(after)) => {
                split(after.changes_since(before), Content::Members6)
            }
            (Content::Elements(before), Content::Elements(after)) => (
                Content::Elements(before.difference(after).cloned().collect()),
                Content::Elements(after.difference(before).cloned().collect()),
            ),
            _ => return None,
        };
        if !lost.is_empty() {
            self.lost.insert(name.clone(), Set { kind: before.kind, content: lost });
        }
        if !gained.is_empty() {
            self.added.sets.insert(name.clone(), Set { kind: after.kind, content: gained });
        }
        Some(())
    }

    /// A map that stays gains, loses and changes keys.
    fn keys(&mut self, name: &MapName, before: &Map, after: &Map) {
        let map = |elements| Map { kind: after.kind, elements };
        let (mut gained, mut changed) = (BTreeMap::new(), BTreeMap::new());
        let mut lost: BTreeSet<Element> = BTreeSet::new();
        for (key, verdict) in &after.elements {
            match before.elements.get(key) {
                None => drop(gained.insert(key.clone(), verdict.clone())),
                Some(same) if same == verdict => {}
                Some(_) => {
                    // The kernel refuses to add a key that is there with another verdict.
                    lost.insert(key.clone());
                    changed.insert(key.clone(), verdict.clone());
                }
            }
        }
        lost.extend(before.elements.keys().filter(|key| !after.elements.contains_key(key)).cloned());
        if !gained.is_empty() {
            self.added.maps.insert(name.clone(), map(gained));
        }
        if !lost.is_empty() {
            self.lost_keys.insert(name.clone(), lost);
        }
        if !changed.is_empty() {
            self.changed_keys.insert(name.clone(), map(changed));
        }
    }

    /// Returns true if nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns true if anything is deleted or flushed, for which nft waits.
    #[must_use]
    pub fn deletes(&self) -> bool {
        let Self { added: _, unused: _, lost, lost_keys, changed_keys: _, rewritten, .. } = self;
        // A key that changes is lost first.
        !lost.is_empty()
            || !lost_keys.is_empty()
            || !rewritten.is_empty()
            || !self.removals().is_empty()
            || self.removed_bridge
    }

    /// What it adds and removes: objects, elements and rules.
    #[must_use]
    pub fn objects(&self) -> usize {
        let lost = self.lost.values().map(|set| set.content.len());
        let keys = self.lost_keys.values().map(BTreeSet::len);
        // Such a key is counted among the lost ones, too: it is deleted and added.
        let changed = self.changed_keys.values().map(|map| map.elements.len());
        let rules = self.rewritten.values().map(Vec::len);
        let edits: usize = lost.chain(keys).chain(changed).chain(rules).sum();
        self.added.objects() + edits + self.removals().len() + usize::from(self.removed_bridge)
    }

    /// The new sets, which may be filled before the rest.
    pub fn unused_sets(&self) -> impl Iterator<Item = (&SetName, &Set)> {
        self.added.sets.iter().filter(|(name, _)| self.unused.contains(name))
    }

    /// How much of it is new sets.
    #[must_use]
    pub fn unused_objects(&self) -> usize {
        self.unused_sets().map(|(_, set)| set.content.len() + 1).sum()
    }

    /// The same without its new sets.
    #[must_use]
    pub fn without_unused(&self) -> Self {
        let mut rest = self.clone();
        rest.added.sets.retain(|name, _| !self.unused.contains(name));
        rest
    }

    /// The statements, in an order that nft and the kernel accept.
    #[must_use]
    pub fn write(&self) -> String {
        let mut out = String::with_capacity(SMALL);
        // Writing to a String cannot fail.
        let _: fmt::Result = self.additions_to(&mut out).and_then(|()| self.edits_to(&mut out));
        out
    }

    /// The statements that add new objects, and elements to those that are there.
    pub fn write_additions(&self) -> String {
        let mut out = String::with_capacity(SMALL);
        let _: fmt::Result = self.additions_to(&mut out);
        out
    }

    /// The other statements, which stand after additions.
    pub fn write_edits(&self) -> String {
        let mut out = String::with_capacity(SMALL);
        let _: fmt::Result = self.edits_to(&mut out);
        out
    }

    fn additions_to(&self, out: &mut String) -> fmt::Result {
        let added = &self.added;
        let bridged = |name: TableName| name == TableName::Bridge;
        let in_bridge = added.bridge
            || added.sets.keys().any(|name| bridged(name.table()))
            || added.chains.keys().any(|name| bridged(name.table()));
        // Maps are in this table alone.
        let in_inet = !added.maps.is_empty()
            || added.sets.keys().any(|name| !bridged(name.table()))
            || added.chains.keys().any(|name| !bridged(name.table()));
        let blocks = [(in_inet, TableName::Inet), (in_bridge, TableName::Bridge)];
        blocks.into_iter().filter(|(any, _)| *any).try_for_each(|(_, table)| write_block(out, added, table))
    }

    fn edits_to(&self, out: &mut String) -> fmt::Result {
        for (name, set) in &self.lost {
            write_deletions(out, name, &set.content)?;
        }
        for (name, keys) in &self.lost_keys {
            delete_elements(out, TableName::Inet, name, keys.iter())?;
        }
        // Behind the deletions, which take the same keys out.
        if !self.changed_keys.is_empty() {
            write_maps(out, &self.changed_keys)?;
        }
        for (name, rules) in &self.rewritten {
            // Only the kernel knows a rule's handle, so the rules of a chain are replaced together.
            let table = name.table();
            writeln!(out, "flush chain {table} {name}")?;
            for rule in rules {
                writeln!(out, "add rule {table} {name} {rule}")?;
            }
        }
        // Behind the new rules: those before may have referred to what goes.
        for removal in self.removals() {
            match removal {
                Removal::Chain(name) => writeln!(out, "delete chain {} {name}", name.table())?,
                Removal::Map(name) => writeln!(out, "delete map {TABLE} {name}")?,
                Removal::Set(name) => writeln!(out, "delete set {} {name}", name.table())?,
            }
        }
        if self.removed_bridge {
            writeln!(out, "delete table {BRIDGE_TABLE}")?;
        }
        Ok(())
    }

    /// What goes, users before what they use.
    fn removals(&self) -> Vec<Removal<'_>> {
        let chains = self.removed_chains.iter().map(Removal::Chain);
        let maps = self.removed_maps.iter().map(Removal::Map);
        let mut all: Vec<Removal<'_>> =
            chains.chain(maps).chain(self.removed_sets.iter().map(Removal::Set)).collect();
        // A stable sort: those of one rank stay in order of their names, so that equal ways are equal bytes.
        all.sort_by_key(Removal::rank);
        all
    }
}

enum Removal<'a> {
    Chain(&'a ChainName),
    Map(&'a MapName),
    Set(&'a SetName),
}

impl Removal<'_> {
    /// Whatever refers to an object has a lower rank than the object.
    const fn rank(&self) -> u8 {
        match self {
            Self::Chain(name) => name.rank(),
            Self::Map(name) => name.rank(),
            // Nothing that sets refer to.
            Self::Set(_) => u8::MAX,
        }
    }
}

fn split<T: SetElement>(changes: Changes<T>, content: fn(Members<T>) -> Content) -> (Content, Content) {
    (content(changes.removed.into_iter().collect()), content(changes.added.into_iter().collect()))
}

fn gone<K: Ord + Clone, V>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> BTreeSet<K> {
    old.keys().filter(|key| !new.contains_key(key)).cloned().collect()
}
