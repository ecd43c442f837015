//! What a transaction does to a table, as nft and the kernel would have it: the model that deltas are tested against.

use std::collections::BTreeMap;

use flock_shared::Revision;

use crate::members::{Element, Members};
use crate::model::{Chain, Content, Map, Table};
use crate::name::{ChainName, MapName, SetName, TableName};
use crate::transaction::{Removal, Transaction};

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

impl Table {
    /// Takes over what a transaction adds.
    pub fn extend(&mut self, transaction: &Transaction) -> Result<(), ApplyError> {
        self.add(&transaction.added)
    }

    /// Takes over the rest of a transaction.
    pub fn edit(&mut self, transaction: &Transaction) -> Result<(), ApplyError> {
        for (name, lost) in &transaction.lost {
            let set = self.sets.get_mut(name).ok_or_else(|| ApplyError::Missing(name.to_string()))?;
            set.content =
                set.content.without(&lost.content).ok_or_else(|| ApplyError::NoElement(name.clone()))?;
        }
        for (name, keys) in &transaction.lost_keys {
            let map = self.maps.get_mut(name).ok_or_else(|| ApplyError::Missing(name.to_string()))?;
            if keys.iter().any(|key| map.elements.remove(key).is_none()) {
                return Err(ApplyError::Key(name.clone()));
            }
        }
        self.add(&Self { maps: transaction.changed_keys.clone(), ..Self::default() })?;
        for (name, rules) in &transaction.rewritten {
            let chain = self.chains.get_mut(name).ok_or_else(|| ApplyError::Chain(name.clone()))?;
            chain.rules.clone_from(rules);
        }
        for removal in transaction.removals() {
            let found = match removal {
                Removal::Chain(name) => self.chains.remove(name).is_some(),
                Removal::Map(name) => self.maps.remove(name).is_some(),
                Removal::Set(name) => self.sets.remove(name).is_some(),
            };
            if !found {
                return Err(ApplyError::Missing(match removal {
                    Removal::Chain(name) => name.to_string(),
                    Removal::Map(name) => name.to_string(),
                    Removal::Set(name) => name.to_string(),
                }));
            }
        }
        if transaction.removed_bridge {
            self.bridge = false;
            self.sets.retain(|name, _| name.table() != TableName::Bridge);
            self.chains.retain(|name, _| name.table() != TableName::Bridge);
        }
        Ok(())
    }

    fn add(&mut self, added: &Self) -> Result<(), ApplyError> {
        self.bridge |= added.bridge;
        for (name, set) in &added.sets {
            match self.sets.get_mut(name) {
                None => drop(self.sets.insert(name.clone(), set.clone())),
                Some(known) if known.kind == set.kind => known.content = known.content.with(&set.content),
                Some(_) => return Err(ApplyError::SetType(name.clone())),
            }
        }
        for (name, map) in &added.maps {
            let empty = Map { kind: map.kind, elements: BTreeMap::new() };
            let known = self.maps.entry(name.clone()).or_insert(empty);
            for (key, verdict) in &map.elements {
                if known.elements.insert(key.clone(), verdict.clone()).is_some() {
                    return Err(ApplyError::Key(name.clone()));
                }
            }
        }
        for (name, Chain { hook, rules }) in &added.chains {
            let chain = Chain { hook: *hook, rules: rules.clone() };
            if self.chains.insert(name.clone(), chain).is_some() {
                return Err(ApplyError::Chain(name.clone()));
            }
        }
        Ok(())
    }
}

impl Content {
    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Members4(members) => members.is_empty(),
            Self::Members6(members) => members.is_empty(),
            Self::Ranges4(ranges) => ranges.ranges.is_empty(),
            Self::Ranges6(ranges) => ranges.ranges.is_empty(),
            Self::Elements(elements) => elements.is_empty(),
        }
    }

    /// These elements and others of the same kind.
    fn with(&self, others: &Self) -> Self {
        match (self, others) {
            (Self::Members4(all), Self::Members4(more)) => {
                Self::Members4(all.iter().chain(more.iter()).copied().collect())
            }
            (Self::Members6(all), Self::Members6(more)) => {
                Self::Members6(all.iter().chain(more.iter()).copied().collect())
            }
            (Self::Elements(all), Self::Elements(more)) => Self::Elements(all | more),
            (_, others) => others.clone(),
        }
    }

    /// These elements without others, if all of those are there.
    fn without(&self, others: &Self) -> Option<Self> {
        match (self, others) {
            (Self::Members4(all), Self::Members4(gone)) => without(all, gone).map(Self::Members4),
            (Self::Members6(all), Self::Members6(gone)) => without(all, gone).map(Self::Members6),
            (Self::Elements(all), Self::Elements(gone)) => {
                gone.is_subset(all).then(|| Self::Elements(all - gone))
            }
            _ => None,
        }
    }
}

fn without<T: Element>(all: &Members<T>, gone: &Members<T>) -> Option<Members<T>> {
    gone.iter()
        .all(|element| all.contains(element))
        .then(|| all.iter().filter(|element| !gone.contains(element)).copied().collect())
}
