//! Large tables in steps, each a transaction of so many objects at most: the reasons are in [`flock_shared::steps`].
//!
//! The order is that of what refers to what: sets with their elements; maps without any, and chains without rules, so
//! that whatever names them finds them; rules; the elements of maps, which send packets to chains; and in a last step
//! of their own the base chains, through which packets come. Until that step nothing is judged by any of it. Objects are
//! declared again to add to them, which nft takes in blocks.

use std::fmt::{self, Display};

use flock_shared::TABLE;
use flock_shared::steps::STEP;

use super::model::{Chain, Content, Rule, Set, SetType, Table};
use super::words::Mapped;
use super::write::{FOOT, chain_to, map_to, set_to};

/// The full script of a table in steps of at most `size` objects, and `end` behind its last statement.
#[must_use]
pub fn write_in_steps(table: &Table, end: &str, size: usize) -> String {
    let mut steps = Steps::new(format!("add table {TABLE}\ndelete table {TABLE}\n"), size);
    // Writing to a String cannot fail.
    let _: fmt::Result = steps.table(table);
    steps.out.push_str(end);
    steps.out
}

/// Steps that make sets, with their elements, in a table that is there. `start` stands before them in the first one.
pub(crate) fn sets_in_steps<'a, N: Display + 'a>(
    start: String,
    sets: impl Iterator<Item = (N, &'a Set)>,
    size: usize,
) -> String {
    let mut steps = Steps::new(start, size);
    for (name, set) in sets {
        let _: fmt::Result = steps.set(&name, set);
    }
    steps.out.push_str(FOOT);
    steps.out
}

/// Steps in the making: a block of the table is open.
struct Steps {
    out: String,
    size: usize,
    used: usize,
}

impl Steps {
    fn new(start: String, size: usize) -> Self {
        let mut steps = Self { out: start, size: size.max(1), used: 0 };
        steps.open();
        steps
    }

    fn open(&mut self) {
        for part in ["table ", TABLE, " {\n"] {
            self.out.push_str(part);
        }
        self.used = 0;
    }

    /// Ends a step.
    fn next(&mut self) {
        for part in [FOOT, STEP, "\n"] {
            self.out.push_str(part);
        }
        self.open();
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
        for (name, map) in &table.maps {
            self.room();
            self.used += 1;
            map_to(&mut self.out, name, map.kind, std::iter::empty::<&str>())?;
        }
        let (base, others): (Vec<_>, Vec<_>) =
            table.chains.iter().partition(|(_, chain)| chain.hook.is_some());
        for (name, _) in &others {
            self.room();
            self.used += 1;
            chain_to(&mut self.out, name, None, &[])?;
        }
        for (name, Chain { rules, .. }) in &others {
            let mut rules: &[Rule] = rules;
            while !rules.is_empty() {
                let (now, later) = rules.split_at(self.room().min(rules.len()));
                self.used += now.len();
                chain_to(&mut self.out, name, None, now)?;
                rules = later;
            }
        }
        for (name, map) in table.maps.iter().filter(|(_, map)| !map.elements.is_empty()) {
            let elements = map.elements.iter().map(|(key, verdict)| Mapped(key, verdict));
            self.pieces(elements, |out, piece| map_to(out, name, map.kind, piece))?;
        }
        self.next();
        for (name, Chain { hook, rules }) in base {
            chain_to(&mut self.out, name, *hook, rules)?;
        }
        self.out.push_str(FOOT);
        Ok(())
    }

    fn set(&mut self, name: &impl Display, set: &Set) -> fmt::Result {
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
            self.used += count.max(1);
            if elements.peek().is_none() {
                return Ok(());
            }
        }
    }
}
