//! What differs between two outputs of that which many nodes share: rule sets and sets of pods.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::identity::Name;
use crate::layout::{Layout, reached, rule_set, set_of};
use crate::nft::{Allow, ChainName, Family, SetName, Table, Transaction};
use crate::object::Direction;
use crate::output::{AddressSet, Bits, Families, IsolatedPod, NodeRules, Output, RuleSet};
use crate::port::Protocol;

/// The shared rule sets and address sets in which outputs differ. Equal values come to the same statements.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct SharedChange {
    families: Families,
    pub(super) gone: Chains,
    pub(super) come: Chains,
    /// What of these other chains use too, so that it neither comes nor goes.
    pub(super) stay: Vec<SharedPart>,
    lost: Vec<Same<AddressSet>>,
    gained: Vec<Same<AddressSet>>,
    /// Sets with other members, before and after.
    edited: Vec<(Same<AddressSet>, Same<AddressSet>)>,
}

/// A shared value, compared by where it is.
#[derive(Debug)]
pub(super) struct Same<T>(Arc<T>);

impl<T> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        // Each side holds its value, so the place of one cannot have become another value's.
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Eq for Same<T> {}

impl<T> Hash for Same<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// Chains of rule sets.
pub(super) type Chains = SmallVec<[(Same<RuleSet>, Allow); 2]>;

/// A chain of a rule set, ordered by identity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain<'a> {
    pub(super) rules: &'a Arc<RuleSet>,
    pub(super) allow: Allow,
}

impl Chain<'_> {
    fn key(&self) -> (*const RuleSet, Allow) {
        (Arc::as_ptr(self.rules), self.allow)
    }

    /// Returns true if both are the same chain with the same rules.
    pub(super) fn is(&self, other: &Self) -> bool {
        let of = |chain: &Self| (chain.rules.direction, chain.allow, chain.rules.identity);
        self.key() == other.key() || of(self) == of(other) && self.rules.name == other.rules.name
    }
}

impl PartialEq for Chain<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Chain<'_> {}

impl PartialOrd for Chain<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Chain<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// The chains of the rule sets that a pod refers to.
pub(super) fn chains_of(pod: &IsolatedPod) -> impl Iterator<Item = Chain<'_>> {
    [&pod.ingress, &pod.egress].into_iter().flat_map(|isolation| {
        let allow = reached(isolation);
        isolation.rule_sets().iter().map(move |rules| Chain { rules, allow })
    })
}

impl From<Chain<'_>> for (Same<RuleSet>, Allow) {
    fn from(chain: Chain<'_>) -> Self {
        (Same(Arc::clone(chain.rules)), chain.allow)
    }
}

/// What a chain uses that other chains may use as well, other than sets of pods.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum SharedPart {
    Peers(Direction, Name, Allow),
    Blocks(Family, Name),
    /// The sets of contested addresses of a rule set, however its chain is reached.
    Contested(Direction, Name),
}

impl SharedPart {
    /// What chains that go or come have in common with others of the node's new rules, in order.
    pub(super) fn with(gone: &Chains, come: &Chains, new: &NodeRules) -> Vec<Self> {
        let of = |chains: &Chains| {
            let mut parts: SmallVec<[Self; 8]> = SmallVec::new();
            chains.iter().for_each(|(rules, allow)| Self::each(&rules.0, *allow, |part| parts.push(part)));
            parts.sort_unstable();
            parts.dedup();
            parts
        };
        // What goes and comes is laid out twice, and stays by that.
        let (before, after) = (of(gone), of(come));
        let once = |own: &[Self], others: &[Self]| -> SmallVec<[Self; 8]> {
            own.iter().filter(|part| others.binary_search(part).is_err()).cloned().collect()
        };
        let mut wanted = once(&before, &after);
        wanted.extend(once(&after, &before));
        wanted.sort_unstable();
        let names = wanted.iter().map(|part| match part {
            Self::Peers(_, name, _) | Self::Blocks(_, name) | Self::Contested(_, name) => Bits::of(name),
        });
        let any = names.fold(Bits::default(), Bits::union);
        let mut found = Vec::new();
        let overlapping = new.isolated.matching(|print| print.parts.overlaps(any));
        for Chain { rules, allow } in overlapping.flat_map(chains_of) {
            // What comes is itself laid out: only chains that were there before keep a part.
            if come.iter().any(|(new, to)| Arc::ptr_eq(&new.0, rules) && *to == allow) {
                continue;
            }
            Self::each(rules, allow, |part| {
                if wanted.binary_search(&part).is_ok() {
                    found.push(part);
                }
            });
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn each(rules: &RuleSet, allow: Allow, mut take: impl FnMut(Self)) {
        if !rules.contested.is_empty() {
            take(Self::Contested(rules.direction, rules.name));
        }
        for (_, union) in &rules.ports {
            take(Self::Peers(rules.direction, union.name, allow));
        }
        for union in rules.unions() {
            union.v4.ranges().into_iter().for_each(|it| take(Self::Blocks(Family::V4, it.name)));
            union.v6.ranges().into_iter().for_each(|it| take(Self::Blocks(Family::V6, it.name)));
        }
    }

    fn leave_out_of(&self, table: &mut Table) {
        match self.clone() {
            Self::Peers(direction, name, allow) => {
                table.chains.remove(&ChainName::Peers(direction, name, allow));
            }
            Self::Blocks(family, name) => {
                table.sets.remove(&SetName::Blocks(family, name));
            }
            Self::Contested(direction, name) => {
                for family in Family::ALL {
                    // Which of them there are depends on the addresses; one that is not there is no loss.
                    for protocol in Protocol::ALL {
                        let name = SetName::Contested(direction, family, name, protocol);
                        table.sets.remove(&name);
                    }
                    table.sets.remove(&SetName::ContestedAny(direction, family, name));
                }
            }
        }
    }
}

impl SharedChange {
    /// The sets that go, that come, and that stay with other members, in the order of their names.
    pub(super) fn of_sets(before: &Output, after: &Output) -> Self {
        let mut parts = Self { families: after.node_rules().families, ..Self::default() };
        let (old, new) = (before.sets(), after.sets());
        if std::ptr::eq(old, new) {
            return parts;
        }
        let part = |set: &Arc<AddressSet>| Same(Arc::clone(set));
        let mut old = old.iter().peekable();
        for set in new {
            let name = &set.definition.name;
            // Most sets are the very same, which their pointers tell without reading them.
            let earlier =
                |other: &&Arc<AddressSet>| !Arc::ptr_eq(other, set) && other.definition.name < *name;
            while let Some(other) = old.next_if(earlier) {
                parts.lost.push(part(other));
            }
            match old.next_if(|other| Arc::ptr_eq(other, set) || other.definition.name == *name) {
                Some(same) if Arc::ptr_eq(same, set) => {}
                Some(same) if set_of(&same.definition, Family::V4) == set_of(&set.definition, Family::V4) => {
                    parts.edited.push((part(same), part(set)));
                }
                // Their members are of different types, so in nft these are two sets.
                Some(other) => {
                    parts.lost.push(part(other));
                    parts.gained.push(part(set));
                }
                None => parts.gained.push(part(set)),
            }
        }
        parts.lost.extend(old.map(part));
        parts
    }

    /// The transaction; `None`: only a full script leads there.
    pub(super) fn transaction(&self) -> Option<Transaction> {
        let (mut old, mut new) = (Layout::new(self.families), Layout::new(self.families));
        self.gone.iter().for_each(|(rules, allow)| rule_set::chains(&mut old, &rules.0, *allow));
        self.come.iter().for_each(|(rules, allow)| rule_set::chains(&mut new, &rules.0, *allow));
        // Other chains use these before and after: they must not be added once more, nor deleted.
        for part in &self.stay {
            part.leave_out_of(&mut old.table);
            part.leave_out_of(&mut new.table);
        }
        self.lost.iter().for_each(|set| old.members(&set.0));
        self.gained.iter().for_each(|set| new.members(&set.0));
        for (before, after) in &self.edited {
            old.members(&before.0);
            new.members(&after.0);
        }
        Transaction::between(&old.table, &new.table)
    }
}
