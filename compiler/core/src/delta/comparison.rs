//! What differs between two outputs of a node.

use std::net::IpAddr;
use std::ptr;

use smallvec::{SmallVec, smallvec};

use super::parts::{Chain, Chains, Parts, Shared};
use crate::layout::{Layout, reached, verdict_of};
use crate::nft::{Element, Family, MapName, SetType, Transaction, Verdict, write_changed_keys};
use crate::object::Direction;
use crate::output::{Bits, Frame, Output, Subject, Unready};

/// Mostly so few that they need no allocation.
type Few<T> = SmallVec<[T; 4]>;

/// What differs between two outputs with the same families.
pub(super) struct Comparison<'a> {
    old: &'a Frame,
    new: &'a Frame,
    /// Subjects that are new, gone or isolated in another way, before and after; in order.
    subjects: Few<Change<'a>>,
    pub(super) parts: Parts,
}

impl<'a> Comparison<'a> {
    pub(super) fn of(before: &'a Output, after: &'a Output) -> Self {
        let (old, new) = (&**before.frame(), &**after.frame());
        let mut subjects = Few::new();
        let mut parts = Parts::of_sets(before, after);
        if !ptr::eq(old, new) {
            let unshared = old.subjects.unshared(&new.subjects);
            subjects.extend(unshared.filter(|(_, before, after)| before != after));
            let gone = chains(subjects.iter().filter_map(|(_, before, _)| *before));
            let come = chains(subjects.iter().filter_map(|(.., after)| *after));
            let (gone, come) = without_kept(gone, come, old, new);
            if !gone.is_empty() || !come.is_empty() {
                parts.stay = Shared::with(&gone, &come, new);
                (parts.gone, parts.come) = (gone, come);
            }
        }
        Self { old, new, subjects, parts }
    }

    /// Writes the statements of the node's own; whether they delete anything. They are those of its transaction, without
    /// the way through tables where all that differs is which chains addresses are sent to, which is most often so.
    /// `None`: only a full script leads there.
    pub(super) fn write_frame(&self, out: &mut String) -> Option<bool> {
        let Some(maps) = self.sent_elsewhere() else {
            let frame = self.frame()?;
            out.push_str(&frame.write());
            return Some(frame.deletes());
        };
        // Writing to a String cannot fail.
        let _: std::fmt::Result = write_changed_keys(out, &maps);
        Some(!maps.is_empty())
    }

    /// The addresses that are sent to another chain, by dispatch map, if nothing else differs.
    fn sent_elsewhere(&self) -> Option<Few<ChangedKeys>> {
        if self.subjects.is_empty()
            || self.old.anchors != self.new.anchors
            || self.old.unready != self.new.unready
            || self.old.links != self.new.links
            // Which ports are open pods' follows the subjects.
            || !self.new.links.pod_bridges.is_empty()
                && self.subjects.iter().any(|(_, before, after)| before.is_some() != after.is_some())
        {
            return None;
        }
        let mut maps: Few<ChangedKeys> = Few::new();
        for direction in Direction::ALL {
            for (address, before, after) in &self.subjects {
                let (before, after) = ((*before)?, (*after)?);
                if before.siblings != after.siblings {
                    return None;
                }
                let (before, after) = (before.isolation(direction), after.isolation(direction));
                if before == after {
                    continue;
                }
                let unready = self.new.unready.as_deref();
                let [from, to] = [before, after].map(|it| verdict_of(direction, *address, it, unready));
                let (from, to) = (from?, to?);
                if from == to {
                    continue;
                }
                let family = Family::of(address);
                let name = MapName::Dispatch(direction, family);
                let entry = (Element::Address(*address), to);
                // Addresses are in order, and so one family's stand together.
                match maps.last_mut() {
                    Some((last, _, keys)) if *last == name => keys.push(entry),
                    _ => maps.push((name, SetType::Addresses(family), smallvec![entry])),
                }
            }
        }
        Some(maps)
    }

    /// The transaction of the node's own; `None`: only a full script leads there.
    pub(super) fn frame(&self) -> Option<Transaction> {
        let anchored = self.old.anchors != self.new.anchors;
        let guarded = self.old.unready != self.new.unready;
        let linked = self.old.links != self.new.links;
        if self.subjects.is_empty() && !anchored && !guarded && !linked {
            return Some(Transaction::default());
        }
        let (mut old, mut new) = (Layout::new(self.old.families), Layout::new(self.new.families));
        let before = self.subjects.iter().filter_map(|(at, before, _)| Some((at, (*before)?)));
        let after = self.subjects.iter().filter_map(|(at, _, after)| Some((at, (*after)?)));
        let known = if guarded { self.known() } else { Few::new() };
        let dispatched = || self.subjects.iter().chain(&known).copied();
        for direction in Direction::ALL {
            let of = |subject: Option<&'a Subject>| subject.map(|subject| subject.isolation(direction));
            // What becomes known, or unknown, may also be a subject that is open in this direction before and after.
            if guarded || self.subjects.iter().any(|(_, before, after)| of(*before) != of(*after)) {
                let (before, after) = (self.old.unready.as_deref(), self.new.unready.as_deref());
                old.dispatch(direction, dispatched().map(|(at, before, _)| (at, before)), before);
                new.dispatch(direction, dispatched().map(|(at, _, after)| (at, after)), after);
            }
        }
        let siblings = |subject: Option<&'a Subject>| subject.map(|subject| &subject.siblings);
        if self.subjects.iter().any(|(_, before, after)| siblings(*before) != siblings(*after)) {
            old.hairpins(&before);
            new.hairpins(&after);
        }
        let comes_or_goes =
            self.subjects.iter().any(|(_, before, after)| before.is_some() != after.is_some());
        if comes_or_goes {
            old.isolated(&before);
            new.isolated(&after);
        }
        if anchored || linked {
            old.entering(self.old);
            new.entering(self.new);
        }
        // Which ports are open pods', and whether anything is closed, follows the subjects.
        if anchored || linked || comes_or_goes {
            old.bridge(self.old);
            new.bridge(self.new);
        }
        let guard = |frame: &'a Frame| frame.unready.as_ref().map(|it| (&it.cidrs, it.closing));
        if guarded && guard(self.old) != guard(self.new) {
            old.base_chains(self.old.unready.as_deref());
            new.base_chains(self.new.unready.as_deref());
        }
        Transaction::between(&old.table, &new.table)
    }

    /// The addresses that became known, or unknown, and are as subjects what they were.
    fn known(&self) -> Few<Change<'a>> {
        let changed = Unready::changes(self.old.unready.as_deref(), self.new.unready.as_deref());
        let other = |address: &IpAddr| self.subjects.binary_search_by_key(address, |(at, ..)| *at).is_err();
        let with_subjects = |at: IpAddr| (at, self.old.subjects.get(&at), self.new.subjects.get(&at));
        changed.into_iter().filter(other).map(with_subjects).collect()
    }
}

/// Keys of a map that get other verdicts.
type ChangedKeys = (MapName, SetType, SmallVec<[(Element, Verdict); 2]>);

/// A subject before and after.
type Change<'a> = (IpAddr, Option<&'a Subject>, Option<&'a Subject>);

/// The chains of the rule sets that a subject refers to.
pub(super) fn chains_of(subject: &Subject) -> impl Iterator<Item = Chain<'_>> {
    [&subject.ingress, &subject.egress].into_iter().flat_map(|isolation| {
        let allow = reached(isolation);
        isolation.rule_sets().iter().map(move |rules| Chain { rules, allow })
    })
}

/// The chains of the rule sets that these refer to, each once, in order.
fn chains<'a>(subjects: impl Iterator<Item = &'a Subject>) -> Few<Chain<'a>> {
    let mut all: Few<Chain<'a>> = subjects.flat_map(chains_of).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The chains that go and that come, out of those of subjects that changed: without those that are in both frames.
fn without_kept<'a>(
    gone: Few<Chain<'a>>,
    come: Few<Chain<'a>>,
    old: &Frame,
    new: &Frame,
) -> (Chains, Chains) {
    let marked = |chains: Few<Chain<'a>>, frame: &Frame| -> Few<(Chain<'a>, bool)> {
        let mut marked: Few<_> = chains.into_iter().map(|chain| (chain, false)).collect();
        let names = marked.iter().map(|(chain, _)| chain.rules.fingerprint.rule_sets);
        let names = names.fold(Bits::default(), Bits::union);
        let subjects = frame.subjects.matching(|print| print.rule_sets.overlaps(names));
        for chain in subjects.flat_map(chains_of) {
            if let Ok(place) = marked.binary_search_by(|(other, _)| other.cmp(&chain))
                && let Some((_, stays)) = marked.get_mut(place)
            {
                *stays = true;
            }
        }
        marked
    };
    let (mut gone, mut come) = (marked(gone, new), marked(come, old));
    // The same part, or one that became the same again.
    for (chain, stays) in &mut gone {
        for (_, too) in come.iter_mut().filter(|(other, _)| chain.is(other)) {
            (*stays, *too) = (true, true);
        }
    }
    let left = |chains: Few<(Chain<'a>, bool)>| -> Chains {
        chains.into_iter().filter(|(_, stays)| !stays).map(|(chain, _)| chain.into()).collect()
    };
    (left(gone), left(come))
}
