//! Large tables in steps, each a transaction of so many objects at most: the reasons are in [`flock_shared::steps`].
//!
//! The order is that of what refers to what: sets with their elements; chains without rules and maps without elements, so
//! that whatever names them finds them; rules; the elements of maps, which send packets to chains; and in a last step
//! of their own the base chains, through which packets come. Chains stand before maps, for nft sends the elements of an
//! interval map with the statement that first declares it, where the whole is one transaction. Until that step nothing is judged by any of it. Objects are
//! declared again to add to them, which nft takes in blocks. What is in the table of family bridge has a block of its own.

use std::fmt::{self, Display};

use flock_shared::steps::STEP;

use crate::model::{Chain, Content, Rule, Set, SetType, Table};
use crate::name::{SetName, TableName};
use crate::words::Mapped;
use crate::write::{FOOT, chain_to, head, map_to, set_to};

/// The full script of a table in steps of at most `size` objects, and `end` behind its last statement.
#[must_use]
pub fn write_in_steps(table: &Table, end: &str, size: usize) -> String {
    let mut steps = Steps::new(head(table.bridge), size);
    // Writing to a String cannot fail.
    let _: fmt::Result = steps.table(table);
    steps.out.push_str(end);
    steps.out
}

/// Steps that make sets, with their elements, in a table that is there. `start` stands before them in the first one.
#[must_use]
pub fn sets_in_steps<'a>(
    start: String,
    sets: impl Iterator<Item = (&'a SetName, &'a Set)>,
    size: usize,
) -> String {
    let mut steps = Steps::new(start, size);
    for (name, set) in sets {
        let _: fmt::Result = steps.set(name, set);
    }
    steps.out.push_str(FOOT);
    steps.out
}

/// Steps in the making: a block of a table is open.
struct Steps {
    out: String,
    block: TableName,
    size: usize,
    used: usize,
}

impl Steps {
    fn new(start: String, size: usize) -> Self {
        // Steps of size 0 would never come to an end.
        let mut steps = Self { out: start, block: TableName::Inet, size: size.max(1), used: 0 };
        steps.open(TableName::Inet);
        steps
    }

    fn open(&mut self, block: TableName) {
        for part in ["table ", block.as_str(), " {\n"] {
            self.out.push_str(part);
        }
        self.block = block;
    }

    /// Goes on in the block of this table.
    fn into(&mut self, table: TableName) {
        if self.block != table {
            self.out.push_str(FOOT);
            self.open(table);
        }
    }

    /// Ends a step.
    fn next(&mut self) {
        for part in [FOOT, STEP, "\n"] {
            self.out.push_str(part);
        }
        self.open(self.block);
        self.used = 0;
    }

    /// How many objects there is room for, which is at least one.
    fn room(&mut self) -> usize {
        if self.used >= self.size {
            self.next();
        }
        self.size - self.used
    }

    fn table(&mut self, table: &Table) -> fmt::Result {
        for (name, set) in &table.sets {
            self.set(name, set)?;
        }
        let (base, others): (Vec<_>, Vec<_>) =
            table.chains.iter().partition(|(_, chain)| chain.hook.is_some());
        for (name, _) in &others {
            self.into(name.table());
            self.room();
            self.used += 1;
            chain_to(&mut self.out, name, None, &[])?;
        }
        // Chains may have left the block of family bridge open, and maps are in the other table only.
        self.into(TableName::Inet);
        for (name, map) in &table.maps {
            self.room();
            self.used += 1;
            map_to(&mut self.out, name, map.kind, std::iter::empty::<&str>())?;
        }
        for (name, Chain { rules, .. }) in &others {
            self.into(name.table());
            let mut rules: &[Rule] = rules;
            while !rules.is_empty() {
                // A chain that is declared again keeps the rules that it has, and gets these behind them.
                let (now, later) = rules.split_at(self.room().min(rules.len()));
                self.used += now.len();
                chain_to(&mut self.out, name, None, now)?;
                rules = later;
            }
        }
        self.into(TableName::Inet);
        for (name, map) in table.maps.iter().filter(|(_, map)| !map.elements.is_empty()) {
            let elements = map.elements.iter().map(|(key, verdict)| Mapped(key, verdict));
            self.pieces(elements, |out, piece| map_to(out, name, map.kind, piece))?;
        }
        self.next();
        for (name, Chain { hook, rules }) in base {
            self.into(name.table());
            chain_to(&mut self.out, name, *hook, rules)?;
        }
        if table.bridge {
            // Also if nothing is in it.
            self.into(TableName::Bridge);
        }
        self.out.push_str(FOOT);
        Ok(())
    }

    fn set(&mut self, name: &SetName, set: &Set) -> fmt::Result {
        self.into(name.table());
        match &set.content {
            Content::Members4(members) => self.elements(name, set.kind, members.iter()),
            Content::Members6(members) => self.elements(name, set.kind, members.iter()),
            Content::Ranges4(ranges) => self.elements(name, set.kind, ranges.ranges.display()),
            Content::Ranges6(ranges) => self.elements(name, set.kind, ranges.ranges.display()),
            Content::Elements(elements) => self.elements(name, set.kind, elements.iter()),
        }
    }

    fn elements<T: Display>(
        &mut self,
        name: &impl Display,
        kind: SetType,
        elements: impl Iterator<Item = T>,
    ) -> fmt::Result {
        self.pieces(elements, |out, piece| set_to(out, name, kind, piece))
    }

    /// Writes a set or a map in as many pieces as it takes; at least one, so that it is there.
    fn pieces<T: Display>(
        &mut self,
        elements: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut String, &mut dyn Iterator<Item = T>) -> fmt::Result,
    ) -> fmt::Result {
        let mut elements = elements.peekable();
        loop {
            let room = self.room();
            let mut count = 0;
            write(&mut self.out, &mut elements.by_ref().take(room).inspect(|_| count += 1))?;
            // Without elements it is a statement all the same.
            self.used += count.max(1);
            if elements.peek().is_none() {
                return Ok(());
            }
        }
    }
}
