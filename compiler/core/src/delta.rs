//! From one output of a node to the next: one transaction, and the script that makes it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use flock_shared::{MARKER_PREFIX, Revision, Script, TABLE};

use crate::layout::{ChainKey, Layout, chains, layout, marker, set_of};
use crate::nft::{ChainName, Family, SetName, Table, Transaction};
use crate::output::{BlockSet, Families, MemberSet, Output, RuleSet};

/// The statements of a transaction, without those that change the marker: many nodes may share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(Bytes);

impl Body {
    /// The statements of a transaction.
    #[must_use]
    pub fn of(transaction: &Transaction) -> Self {
        Self(transaction.write().into())
    }

    /// The statements.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The script that applies on `base` and reaches `revision`. nft refuses it as a whole where the marker of
    /// `base` is missing.
    #[must_use]
    pub fn script(&self, base: &Revision, revision: &Revision) -> Script {
        let end = format!("delete set {TABLE} {MARKER_PREFIX}{base}\n{}", marker(revision));
        let mut script = BytesMut::with_capacity(self.0.len() + end.len());
        script.put_slice(&self.0);
        script.put_slice(end.as_bytes());
        Script::new(script.freeze())
    }
}

/// The transaction from the table of one output to that of another. What both share is compared by identity first;
/// only what differs is laid out. `None`: only a full script leads there (see [`Transaction::between`]).
#[must_use]
pub fn diff(old: &Output, new: &Output) -> Option<Transaction> {
    if old.frame().families != new.frame().families {
        return Transaction::between(&layout(old), &layout(new));
    }
    let families = new.frame().families;
    let mut transaction =
        if Arc::ptr_eq(old.frame(), new.frame()) { Transaction::default() } else { frames(old, new)? };
    let (mut gone, mut come, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let mut before = old.sets().iter().peekable();
    for set in new.sets() {
        let name = &set.definition.name;
        while let Some(other) = before.next_if(|other| other.definition.name < *name) {
            gone.push(other);
        }
        match before.next_if(|other| other.definition.name == *name) {
            Some(same) if Arc::ptr_eq(same, set) => {}
            Some(same) if set_of(&same.definition, Family::V4) == set_of(&set.definition, Family::V4) => {
                kept.push((same, set));
            }
            Some(other) => {
                gone.push(other);
                come.push(set);
            }
            None => come.push(set),
        }
    }
    gone.extend(before);
    let mut layout = Layout::new(families);
    come.into_iter().for_each(|set| layout.members(set));
    transaction.added.sets.append(&mut layout.table.sets);
    let mut layout = Layout::new(families);
    gone.into_iter().for_each(|set| layout.members(set));
    transaction.removed_sets.extend(layout.table.sets.into_keys());
    let members = member_changes(kept, families)?;
    transaction.added.sets.extend(members.added.sets);
    transaction.lost.extend(members.lost);
    Some(transaction)
}

/// The transaction that takes over the new members of sets that stay.
#[must_use]
pub fn member_changes<'a>(
    sets: impl IntoIterator<Item = (&'a Arc<MemberSet>, &'a Arc<MemberSet>)>,
    families: Families,
) -> Option<Transaction> {
    let (mut old, mut new) = (Layout::new(families), Layout::new(families));
    for (before, after) in sets {
        old.members(before);
        new.members(after);
    }
    Transaction::between(&old.table, &new.table)
}

/// The part of the transaction that concerns frames and rule sets.
fn frames(old: &Output, new: &Output) -> Option<Transaction> {
    let (old_chains, new_chains) = (chains(old.frame()), chains(new.frame()));
    let families = new.frame().families;
    let (mut before, mut after) = (Layout::new(families), Layout::new(families));
    before.frame(old.frame());
    after.frame(new.frame());
    let same = |a: &Arc<RuleSet>, b: &Arc<RuleSet>| Arc::ptr_eq(a, b) || a.digest == b.digest;
    let mut kept: Vec<(ChainKey<'_>, &Arc<RuleSet>)> = Vec::new();
    let mut moved = false;
    for (key, rules) in &old_chains {
        if new_chains.get(key).is_some_and(|other| same(rules, other)) {
            kept.push((*key, rules));
        } else {
            before.rule_set(rules, key.2);
            moved = true;
        }
    }
    for (key, rules) in &new_chains {
        if !old_chains.get(key).is_some_and(|other| same(rules, other)) {
            after.rule_set(rules, key.2);
            moved = true;
        }
    }
    if moved {
        // What a rule set that stays uses too neither comes nor goes.
        let shared = Shared::of(&kept);
        shared.leave_out(&mut before.table);
        shared.leave_out(&mut after.table);
    }
    Transaction::between(&before.table, &after.table)
}

/// The parts of rule sets that other rule sets may use too, other than sets of pods.
struct Shared {
    chains: BTreeSet<ChainName>,
    sets: BTreeSet<SetName>,
}

impl Shared {
    fn of(rule_sets: &[(ChainKey<'_>, &Arc<RuleSet>)]) -> Self {
        let (mut chains, mut sets) = (BTreeSet::new(), BTreeSet::new());
        for ((direction, _, allow), rules) in rule_sets {
            for (_, peers) in &rules.ports {
                chains.insert(ChainName::Peers(*direction, peers.name.clone(), *allow));
            }
            for family in Family::ALL {
                sets.insert(SetName::Contested(*direction, family, rules.name.clone()));
                sets.insert(SetName::ContestedAny(*direction, family, rules.name.clone()));
            }
            for union in rules.unions() {
                if let BlockSet::Some(ranges) = &union.v4 {
                    sets.insert(SetName::Blocks(Family::V4, ranges.name.clone()));
                }
                if let BlockSet::Some(ranges) = &union.v6 {
                    sets.insert(SetName::Blocks(Family::V6, ranges.name.clone()));
                }
            }
        }
        Self { chains, sets }
    }

    fn leave_out(&self, table: &mut Table) {
        table.chains.retain(|name, _| !self.chains.contains(name));
        table.sets.retain(|name, _| !self.sets.contains(name));
    }
}
