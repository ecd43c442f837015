//! The writer: a table as the script that replaces it.
//!
//! nft 1.0.6 knows no `destroy`, so the script adds the table, which does nothing if it is there, and deletes it.
//! It also wants one statement per line, and `typeof` instead of `type`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use flock_shared::TABLE;

use crate::model::{Chain, Content, Element, Hook, Map, Rule, Set, SetType, Table, Verdict};
use crate::name::{ChainName, MapName, SetName, TableName};
use crate::words::{Mapped, fields_of, write_key};

/// Elements on one line of a script.
const ELEMENTS_PER_LINE: usize = 8;
/// Elements in one statement that deletes.
const ELEMENTS_PER_DELETION: usize = 64;

/// The full script: replaces whatever our table holds, in one transaction.
#[must_use]
pub fn write(table: &Table) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _: fmt::Result = write_table(&mut out, table);
    out
}

/// What stands before the objects of a full script: the tables that it replaces are gone.
pub(crate) fn head(bridge: bool) -> String {
    let tables = TableName::ALL.into_iter().filter(|table| bridge || *table != TableName::Bridge);
    tables.map(|table| format!("add table {table}\ndelete table {table}\n")).collect()
}

/// What stands behind the objects of a block.
pub(crate) const FOOT: &str = "}\n";

fn write_table(out: &mut String, table: &Table) -> fmt::Result {
    out.push_str(&head(table.bridge));
    write_block(out, table, TableName::Inet)?;
    if table.bridge { write_block(out, table, TableName::Bridge) } else { Ok(()) }
}

/// A block that adds the objects of one of the tables, and elements to those that are there with the same properties.
pub(crate) fn write_block(out: &mut String, objects: &Table, table: TableName) -> fmt::Result {
    writeln!(out, "table {table} {{")?;
    let sets = objects.sets.iter().filter(|(name, _)| name.table() == table);
    sets.into_iter().try_for_each(|(name, set)| write_set(out, name, set))?;
    // Family bridge has no maps.
    if table == TableName::Inet {
        maps_to(out, &objects.maps)?;
    }
    let chains = objects.chains.iter().filter(|(name, _)| name.table() == table);
    chains.into_iter().try_for_each(|(name, chain)| write_chain(out, name, chain))?;
    out.push_str(FOOT);
    Ok(())
}

/// Statements by which keys of maps that are there get other verdicts: maps in order of their names, keys in order.
pub fn write_changed_keys<K: AsRef<[(Element, Verdict)]>>(
    out: &mut String,
    maps: &[(MapName, SetType, K)],
) -> fmt::Result {
    // Deleted first: the kernel refuses to add a key that is there with another verdict.
    for (name, _, keys) in maps {
        delete_elements(out, TableName::Inet, name, keys.as_ref().iter().map(|(key, _)| key))?;
    }
    if maps.is_empty() {
        return Ok(());
    }
    writeln!(out, "table {TABLE} {{")?;
    for (name, kind, keys) in maps {
        let elements = keys.as_ref().iter().map(|(key, verdict)| Mapped(key, verdict));
        map_to(out, name, *kind, elements)?;
    }
    out.push_str("}\n");
    Ok(())
}

/// A block with maps alone.
pub(crate) fn write_maps(out: &mut String, maps: &BTreeMap<MapName, Map>) -> fmt::Result {
    writeln!(out, "table {TABLE} {{")?;
    maps_to(out, maps)?;
    out.push_str("}\n");
    Ok(())
}

fn maps_to(out: &mut String, maps: &BTreeMap<MapName, Map>) -> fmt::Result {
    maps.iter().try_for_each(|(name, map)| write_map(out, name, map))
}

pub(crate) fn write_map(out: &mut String, name: &MapName, map: &Map) -> fmt::Result {
    map_to(out, name, map.kind, map.elements.iter().map(|(key, verdict)| Mapped(key, verdict)))
}

pub(crate) fn map_to<T: fmt::Display>(
    out: &mut String,
    name: &impl fmt::Display,
    kind: SetType,
    elements: impl Iterator<Item = T>,
) -> fmt::Result {
    out.push_str("\tmap ");
    write!(out, "{name}")?;
    out.push_str(" {\n\t\ttypeof ");
    write_key(out, fields_of(kind).into_iter().flatten())?;
    out.push_str(" : verdict\n");
    write_properties(out, kind);
    write_elements(out, elements, 1)?;
    out.push_str("\t}\n");
    Ok(())
}

pub(crate) fn write_set(out: &mut String, name: &SetName, set: &Set) -> fmt::Result {
    match &set.content {
        // They are short, so that a line has room for twice as many.
        Content::Members4(members) => set_with(out, name, set.kind, members.iter(), 2 * ELEMENTS_PER_LINE),
        Content::Members6(members) => set_to(out, name, set.kind, members.iter()),
        Content::Ranges4(ranges) => set_to(out, name, set.kind, ranges.ranges.display()),
        Content::Ranges6(ranges) => set_to(out, name, set.kind, ranges.ranges.display()),
        Content::Elements(elements) => set_to(out, name, set.kind, elements.iter()),
    }
}

/// A set with these elements.
pub(crate) fn set_to<T: fmt::Display>(
    out: &mut String,
    name: &impl fmt::Display,
    kind: SetType,
    elements: impl Iterator<Item = T>,
) -> fmt::Result {
    set_with(out, name, kind, elements, ELEMENTS_PER_LINE)
}

fn set_with<T: fmt::Display>(
    out: &mut String,
    name: &impl fmt::Display,
    kind: SetType,
    elements: impl Iterator<Item = T>,
    per_line: usize,
) -> fmt::Result {
    out.push_str("\tset ");
    write!(out, "{name}")?;
    out.push_str(" {\n\t\ttypeof ");
    write_key(out, fields_of(kind).into_iter().flatten())?;
    out.push('\n');
    write_properties(out, kind);
    write_elements(out, elements, per_line)?;
    out.push_str("\t}\n");
    Ok(())
}

/// Statements that delete the elements of a set.
pub(crate) fn write_deletions(out: &mut String, name: &SetName, content: &Content) -> fmt::Result {
    match content {
        Content::Members4(members) => delete_elements(out, name.table(), name, members.iter()),
        Content::Members6(members) => delete_elements(out, name.table(), name, members.iter()),
        Content::Ranges4(ranges) => delete_elements(out, name.table(), name, ranges.ranges.display()),
        Content::Ranges6(ranges) => delete_elements(out, name.table(), name, ranges.ranges.display()),
        Content::Elements(elements) => delete_elements(out, name.table(), name, elements.iter()),
    }
}

/// Statements that delete elements of a set or map, a few at a time.
pub(crate) fn delete_elements<T: fmt::Display>(
    out: &mut String,
    table: TableName,
    name: impl fmt::Display,
    elements: impl Iterator<Item = T>,
) -> fmt::Result {
    // A few at a time, for the reader takes no line that is longer than `LINE_BYTES`.
    let mut count = 0usize;
    for element in elements {
        match count {
            0 => write!(out, "delete element {table} {name} {{ ")?,
            _ if count.is_multiple_of(ELEMENTS_PER_DELETION) => {
                write!(out, " }}\ndelete element {table} {name} {{ ")?;
            }
            _ => out.push_str(", "),
        }
        write!(out, "{element}")?;
        count += 1;
    }
    if count > 0 {
        out.push_str(" }\n");
    }
    Ok(())
}

fn write_properties(out: &mut String, kind: SetType) {
    for property in kind.properties() {
        for part in ["\t\t", property, "\n"] {
            out.push_str(part);
        }
    }
}

fn write_elements<T: fmt::Display>(
    out: &mut String,
    elements: impl Iterator<Item = T>,
    per_line: usize,
) -> fmt::Result {
    let mut count = 0usize;
    for element in elements {
        match count {
            0 => out.push_str("\t\telements = {\n\t\t\t"),
            _ if count.is_multiple_of(per_line) => out.push_str(",\n\t\t\t"),
            _ => out.push_str(", "),
        }
        write!(out, "{element}")?;
        count += 1;
    }
    if count > 0 {
        out.push_str("\n\t\t}\n");
    }
    Ok(())
}

pub(crate) fn write_chain(out: &mut String, name: &ChainName, chain: &Chain) -> fmt::Result {
    chain_to(out, name, chain.hook, &chain.rules)
}

/// A chain with these rules.
pub(crate) fn chain_to(
    out: &mut String,
    name: &ChainName,
    hook: Option<Hook>,
    rules: &[Rule],
) -> fmt::Result {
    out.push_str("\tchain ");
    write!(out, "{name}")?;
    out.push_str(" {\n");
    if let Some(hook) = hook {
        writeln!(out, "\t\t{hook}")?;
    }
    for rule in rules {
        out.push_str("\t\t");
        write!(out, "{rule}")?;
        out.push('\n');
    }
    out.push_str("\t}\n");
    Ok(())
}
