//! What transactions do to a table, as nft and the kernel would have it.

use std::collections::BTreeMap;

use flock_compiler_core::Delta;
use flock_nft::members::{Members, SetElement};
use flock_nft::{Chain, ChainName, Content, Map, MapName, SetName, Table, TableName, Transaction};
use flock_shared::Revision;

/// Why a table does not take a transaction: nft or the kernel would refuse it as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// An element that is to be deleted is not in the set.
    #[error("set {0} has no such element")]
    NoElement(SetName),
    /// A key that is to be deleted is not in the map, or one that is to be added is.
    #[error("map {0} has no such key, or has it with another verdict")]
    Key(MapName),
    /// A set with properties that the one there does not have.
    #[error("set {0} is there with other properties")]
    SetType(SetName),
    /// A chain that is to be added is there, or one that is to be rewritten or removed is not.
    #[error("chain {0} is there, or is not there")]
    Chain(ChainName),
    /// The marker of the base is not there, or the table has gone on from it.
    #[error("{0} does not stand")]
    Base(Revision),
    /// A set or map that is to be removed, or that is to lose elements, is not there.
    #[error("{0} is not there")]
    Missing(String),
}

/// Commits a transaction to a table.
///
/// # Errors
/// When nft or the kernel would refuse it; the table is then in no defined state.
pub fn commit(table: &mut Table, transaction: &Transaction) -> Result<(), ApplyError> {
    add(table, &transaction.added)?;
    edit(table, transaction)
}

/// Commits a delta to a table, its statements in the order of the script.
///
/// # Errors
/// When nft or the kernel would refuse it; the table is then in no defined state.
pub fn apply(table: &mut Table, delta: &Delta) -> Result<(), ApplyError> {
    // The node's own rules refer to parts: those are there before it, and go after it.
    add(table, &delta.parts.added)?;
    commit(table, &delta.node_rules)?;
    edit(table, &delta.parts)
}

/// What stands in the `table` blocks of a transaction.
fn add(table: &mut Table, added: &Table) -> Result<(), ApplyError> {
    table.bridge |= added.bridge;
    for (name, set) in &added.sets {
        match table.sets.get_mut(name) {
            None => drop(table.sets.insert(name.clone(), set.clone())),
            Some(known) if known.kind == set.kind => known.content = union(&known.content, &set.content),
            Some(_) => return Err(ApplyError::SetType(name.clone())),
        }
    }
    add_keys(table, &added.maps)?;
    for (name, Chain { hook, rules }) in &added.chains {
        let chain = Chain { hook: *hook, rules: rules.clone() };
        if table.chains.insert(name.clone(), chain).is_some() {
            return Err(ApplyError::Chain(name.clone()));
        }
    }
    Ok(())
}

fn add_keys(table: &mut Table, added: &BTreeMap<MapName, Map>) -> Result<(), ApplyError> {
    for (name, map) in added {
        let empty = Map { kind: map.kind, elements: BTreeMap::new() };
        let known = table.maps.entry(name.clone()).or_insert(empty);
        for (key, verdict) in &map.elements {
            if known.elements.insert(key.clone(), verdict.clone()).is_some() {
                return Err(ApplyError::Key(name.clone()));
            }
        }
    }
    Ok(())
}

/// The statements behind the blocks, in their order.
fn edit(table: &mut Table, transaction: &Transaction) -> Result<(), ApplyError> {
    let missing = |name: &dyn ToString| ApplyError::Missing(name.to_string());
    for (name, lost) in &transaction.lost {
        let set = table.sets.get_mut(name).ok_or_else(|| missing(name))?;
        set.content =
            difference(&set.content, &lost.content).ok_or_else(|| ApplyError::NoElement(name.clone()))?;
    }
    for (name, keys) in &transaction.lost_keys {
        let map = table.maps.get_mut(name).ok_or_else(|| missing(name))?;
        if keys.iter().any(|key| map.elements.remove(key).is_none()) {
            return Err(ApplyError::Key(name.clone()));
        }
    }
    // A key gets another verdict by deletion and addition.
    add_keys(table, &transaction.changed_keys)?;
    for (name, rules) in &transaction.rewritten {
        let chain = table.chains.get_mut(name).ok_or_else(|| ApplyError::Chain(name.clone()))?;
        chain.rules.clone_from(rules);
    }
    for name in &transaction.removed_chains {
        table.chains.remove(name).ok_or_else(|| ApplyError::Chain(name.clone()))?;
    }
    for name in &transaction.removed_maps {
        table.maps.remove(name).ok_or_else(|| missing(name))?;
    }
    for name in &transaction.removed_sets {
        table.sets.remove(name).ok_or_else(|| missing(name))?;
    }
    if transaction.removed_bridge {
        table.bridge = false;
        table.sets.retain(|name, _| name.table() != TableName::Bridge);
        table.chains.retain(|name, _| name.table() != TableName::Bridge);
    }
    Ok(())
}

/// The elements of both, which are of one kind.
fn union(all: &Content, more: &Content) -> Content {
    match (all, more) {
        (Content::Members4(all), Content::Members4(more)) => {
            Content::Members4(all.iter().chain(more.iter()).copied().collect())
        }
        (Content::Members6(all), Content::Members6(more)) => {
            Content::Members6(all.iter().chain(more.iter()).copied().collect())
        }
        (Content::Elements(all), Content::Elements(more)) => Content::Elements(all | more),
        // Ranges are named by what they hold: those of one name are the same.
        (_, more) => more.clone(),
    }
}

/// The elements of `all` without those of `gone`, if all of those are there.
fn difference(all: &Content, gone: &Content) -> Option<Content> {
    fn members<T: SetElement>(all: &Members<T>, gone: &Members<T>) -> Option<Members<T>> {
        gone.iter()
            .all(|element| all.contains(element))
            .then(|| all.iter().filter(|element| !gone.contains(element)).copied().collect())
    }
    match (all, gone) {
        (Content::Members4(all), Content::Members4(gone)) => members(all, gone).map(Content::Members4),
        (Content::Members6(all), Content::Members6(gone)) => members(all, gone).map(Content::Members6),
        (Content::Elements(all), Content::Elements(gone)) => {
            gone.is_subset(all).then(|| Content::Elements(all - gone))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "transactions_tests.rs"]
mod tests;
