//! What differs between two outputs of a node.

use std::net::IpAddr;
use std::ptr;

use smallvec::{SmallVec, smallvec};

use super::shared::{Chain, Chains, SharedChange, SharedPart, chains_of};
use super::{LAST_STEP_OBJECTS, node_rules_fit};
use crate::layout::{Layout, bridge, node_rules, source_check};
use crate::nft::{Element, Family, MapName, SetType, Transaction, Verdict, write_changed_keys};
use crate::object::Direction;
use crate::output::{Bits, IsolatedPod, Isolation, NodeRules, Output, PodCidrGuard};

/// What differs between two outputs with the same families.
pub(super) struct Comparison<'a> {
    old: &'a NodeRules,
    new: &'a NodeRules,
    /// Isolated pods that are new, gone or isolated in another way, before and after; in order.
    isolated: SmallVec<[IsolationChange<'a>; 4]>,
    pub(super) parts: SharedChange,
}

impl<'a> Comparison<'a> {
    pub(super) fn of(before: &'a Output, after: &'a Output) -> Self {
        let (old, new) = (&**before.node_rules(), &**after.node_rules());
        let mut isolated = SmallVec::new();
        // In any case: members stand beside the node's rules, which may be the very same.
        let mut parts = SharedChange::of_sets(before, after);
        if !ptr::eq(old, new) {
            let unshared = old.isolated.unshared(&new.isolated);
            // Chunks that differ hold pods that do not.
            isolated.extend(unshared.filter(|(_, before, after)| before != after));
            let gone = chains(isolated.iter().filter_map(|(_, before, _)| *before));
            let come = chains(isolated.iter().filter_map(|(.., after)| *after));
            let (gone, come) = without_kept(gone, come, old, new);
            if !gone.is_empty() || !come.is_empty() {
                parts.stay = SharedPart::with(&gone, &come, new);
                (parts.gone, parts.come) = (gone, come);
            }
        }
        Self { old, new, isolated, parts }
    }

    /// Writes the statements of the node's own; returns true if they delete anything, and `None` if only a full script leads
    /// there. They are those of its transaction, without the way through tables where all that differs is which chains
    /// addresses are sent to, which is most often so.
    pub(super) fn write_node_rules(&self, out: &mut String) -> Option<bool> {
        let Some(maps) = self.sent_elsewhere() else {
            let node_rules = self.node_rules().filter(node_rules_fit)?;
            out.push_str(&node_rules.write());
            return Some(node_rules.deletes());
        };
        // Writing to a String cannot fail.
        let _: std::fmt::Result = write_changed_keys(out, &maps);
        Some(!maps.is_empty())
    }

    /// The addresses that are sent to another chain, by dispatch map, if nothing else differs.
    fn sent_elsewhere(&self) -> Option<SmallVec<[ChangedKeys; 4]>> {
        if self.isolated.is_empty()
            // Each comes to a few objects, so these surely fit; of more it is counted first.
            || self.isolated.len() > LAST_STEP_OBJECTS / 8
            || self.old.source_checks != self.new.source_checks
            || self.old.guard != self.new.guard
            || self.old.links != self.new.links
            // Which ports are open pods' follows the isolated pods.
            || !self.new.links.pod_bridges.is_empty()
                && self.isolated.iter().any(|(_, before, after)| before.is_some() != after.is_some())
        {
            return None;
        }
        let mut maps: SmallVec<[ChangedKeys; 4]> = SmallVec::new();
        for direction in Direction::ALL {
            for (address, before, after) in &self.isolated {
                // A pod that comes or goes changes sets as well, so that takes the way through tables.
                let (before, after) = ((*before)?, (*after)?);
                if before.siblings != after.siblings {
                    return None;
                }
                let (before, after) = (before.isolation(direction), after.isolation(direction));
                if before == after {
                    continue;
                }
                // A chain of the address's own is more to do than to change a key, and so is a key that comes or goes.
                if [before, after].iter().any(|it| matches!(it, Isolation::All(_))) {
                    return None;
                }
                // The old one is equal: that was asked first.
                let guard = self.new.guard.as_deref();
                let [from, to] =
                    [before, after].map(|it| node_rules::verdict(direction, *address, it, guard));
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
    pub(super) fn node_rules(&self) -> Option<Transaction> {
        let checks_changed = self.old.source_checks != self.new.source_checks;
        let guarded = self.old.guard != self.new.guard;
        let linked = self.old.links != self.new.links;
        if self.isolated.is_empty() && !checks_changed && !guarded && !linked {
            return Some(Transaction::default());
        }
        // What cannot differ is laid out on neither side, so the transaction is that between the whole tables.
        let (mut old, mut new) = (Layout::new(self.old.families), Layout::new(self.new.families));
        let before = self.isolated.iter().filter_map(|(at, before, _)| Some((at, (*before)?)));
        let after = self.isolated.iter().filter_map(|(at, _, after)| Some((at, (*after)?)));
        let known = if guarded { self.known() } else { SmallVec::new() };
        let dispatched = || self.isolated.iter().chain(&known).copied();
        for direction in Direction::ALL {
            let of = |pod: Option<&'a IsolatedPod>| pod.map(|pod| pod.isolation(direction));
            // What becomes known, or unknown, may also be a pod that is open in this direction before and after.
            if guarded || self.isolated.iter().any(|(_, before, after)| of(*before) != of(*after)) {
                let (before, after) = (self.old.guard.as_deref(), self.new.guard.as_deref());
                node_rules::dispatch(
                    &mut old,
                    direction,
                    dispatched().map(|(at, before, _)| (at, before)),
                    before,
                );
                node_rules::dispatch(
                    &mut new,
                    direction,
                    dispatched().map(|(at, _, after)| (at, after)),
                    after,
                );
            }
        }
        let siblings = |pod: Option<&'a IsolatedPod>| pod.map(|pod| &pod.siblings);
        if self.isolated.iter().any(|(_, before, after)| siblings(*before) != siblings(*after)) {
            node_rules::hairpins(&mut old, &before);
            node_rules::hairpins(&mut new, &after);
        }
        let comes_or_goes =
            self.isolated.iter().any(|(_, before, after)| before.is_some() != after.is_some());
        if comes_or_goes {
            node_rules::isolated_sets(&mut old, &before);
            node_rules::isolated_sets(&mut new, &after);
        }
        if checks_changed || linked {
            source_check::entering(&mut old, self.old);
            source_check::entering(&mut new, self.new);
        }
        // Which ports are open pods', and whether anything is closed, follows the isolated pods.
        if checks_changed || linked || comes_or_goes {
            bridge::table(&mut old, self.old);
            bridge::table(&mut new, self.new);
        }
        // Known addresses are keys of the dispatch: base chains depend on the blocks and on when they are closed.
        let guard = |node_rules: &'a NodeRules| node_rules.guard.as_ref().map(|it| (&it.cidrs, it.closing));
        if guarded && guard(self.old) != guard(self.new) {
            node_rules::base_chains(&mut old, self.old.guard.as_deref(), self.old.drops);
            node_rules::base_chains(&mut new, self.new.guard.as_deref(), self.new.drops);
        }
        Transaction::between(&old.table, &new.table)
    }

    /// The addresses that became known, or unknown, and are as isolated pods what they were.
    fn known(&self) -> SmallVec<[IsolationChange<'a>; 4]> {
        let changed = PodCidrGuard::changes(self.old.guard.as_deref(), self.new.guard.as_deref());
        let other = |address: &IpAddr| self.isolated.binary_search_by_key(address, |(at, ..)| *at).is_err();
        let with_pods = |at: IpAddr| (at, self.old.isolated.get(&at), self.new.isolated.get(&at));
        changed.into_iter().filter(other).map(with_pods).collect()
    }
}

/// Keys of a map that get other verdicts.
type ChangedKeys = (MapName, SetType, SmallVec<[(Element, Verdict); 2]>);

/// A pod before and after.
type IsolationChange<'a> = (IpAddr, Option<&'a IsolatedPod>, Option<&'a IsolatedPod>);

/// The chains of the rule sets that these refer to, each once, in order.
fn chains<'a>(isolated: impl Iterator<Item = &'a IsolatedPod>) -> SmallVec<[Chain<'a>; 4]> {
    let mut all: SmallVec<[Chain<'a>; 4]> = isolated.flat_map(chains_of).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The chains that go and that come, out of those of isolated pods that changed: without those that are in the node's rules
/// before and after.
fn without_kept<'a>(
    gone: SmallVec<[Chain<'a>; 4]>,
    come: SmallVec<[Chain<'a>; 4]>,
    old: &NodeRules,
    new: &NodeRules,
) -> (Chains, Chains) {
    let marked =
        |chains: SmallVec<[Chain<'a>; 4]>, node_rules: &NodeRules| -> SmallVec<[(Chain<'a>, bool); 4]> {
            let mut marked: SmallVec<[_; 4]> = chains.into_iter().map(|chain| (chain, false)).collect();
            // A few bits of these names rule out most chunks of isolated pods.
            let names = marked.iter().map(|(chain, _)| chain.rules.fingerprint.rule_sets);
            let names = names.fold(Bits::default(), Bits::union);
            let isolated = node_rules.isolated.matching(|print| print.rule_sets.overlaps(names));
            for chain in isolated.flat_map(chains_of) {
                if let Ok(place) = marked.binary_search_by(|(other, _)| other.cmp(&chain))
                    && let Some((_, stays)) = marked.get_mut(place)
                {
                    *stays = true;
                }
            }
            marked
        };
    // What these pods no longer use other pods may; and what they come to use may have been there for others.
    let (mut gone, mut come) = (marked(gone, new), marked(come, old));
    // The same rule set, or an equal one that was made anew.
    for (chain, stays) in &mut gone {
        for (_, too) in come.iter_mut().filter(|(other, _)| chain.is(other)) {
            (*stays, *too) = (true, true);
        }
    }
    let left = |chains: SmallVec<[(Chain<'a>, bool); 4]>| -> Chains {
        chains.into_iter().filter(|(_, stays)| !stays).map(|(chain, _)| chain.into()).collect()
    };
    (left(gone), left(come))
}
