//! A node on which policies isolate some pods in another way, while its pods are as they were: the frame and the sets
//! of its output are edited, not put together anew.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::cluster::NodeEntry;
use super::frames::{Few, Sources};
use super::load::Load;
use crate::output::{Frame, MemberSet, Output, RuleSet, Subject};

/// Beyond this many pods, or sets with new members, putting the output together anew is no dearer.
pub(super) const MANY: usize = 16;

impl Sources<'_> {
    /// The output of a node on which these pods are isolated in another way than before, and the sets that it refers
    /// to, in the output's order, if they are others, and at most so much its rule sets come to. Each of the pods owns its addresses alone, and no
    /// namespace is closed on the node; the sets that have `changed` have new members.
    pub(super) fn refitted(
        &self,
        node: &NodeEntry,
        before: &Output,
        pods: &[u32],
        changed: &[u32],
    ) -> (Output, Option<Vec<u32>>, Load) {
        let (mut subjects, mut used) = (Few::new(), Few::new());
        let known = before.frame();
        let mut owners = Arc::clone(&known.owners);
        let mut edits: Few<(IpAddr, Option<Subject>)> = Few::new();
        let mut gone: Few<Arc<RuleSet>> = Few::new();
        for id in pods {
            self.subjects(*id, &BTreeMap::new(), &mut subjects, &mut used);
            for (address, _) in self.cluster.owned(*id) {
                let place = subjects.iter().position(|(other, _)| *other == address);
                let subject = place.map(|place| subjects.swap_remove(place).1);
                let old = known.subjects.get(&address);
                gone.extend(old.into_iter().flat_map(Subject::rule_sets).cloned());
                match (old, &subject) {
                    (None, Some(_)) => {
                        Arc::make_mut(&mut owners).insert(address, self.owners_of(*id, &address));
                    }
                    (Some(_), None) => _ = Arc::make_mut(&mut owners).remove(&address),
                    (None, None) | (Some(_), Some(_)) => {}
                }
                edits.push((address, subject));
            }
        }
        edits.sort_unstable_by_key(|(address, _)| *address);
        let subjects = known.subjects.edited(edits);
        let (anchors, unready) = (Arc::clone(&known.anchors), known.unready.clone());
        let links = Arc::clone(&known.links);
        let frame = Frame { families: known.families, subjects, owners, anchors, unready, links };
        used.sort_unstable();
        used.dedup();
        let (lost, mut gained) = self.sets(node, before, &frame, &used, gone);
        gained.sort_unstable_by(|(_, a), (_, b)| a.definition.name.cmp(&b.definition.name));
        let (ids, members): (Few<u32>, Few<Arc<MemberSet>>) = gained.into_iter().unzip();
        let mut output = before.refitted(frame, &lost, &members);
        let edited = (!lost.is_empty() || !members.is_empty()).then(|| {
            let mut sets = node.sets.clone();
            lost.iter().rev().for_each(|place| _ = sets.remove(*place));
            for (id, set) in ids.into_iter().zip(&members) {
                if let Ok(place) = output.place(&set.definition.name) {
                    sets.insert(place, id);
                }
            }
            sets
        });
        let sets = edited.as_ref().unwrap_or(&node.sets);
        let newer = self.newer(sets, changed);
        if !newer.is_empty() {
            output = output.with_sets(newer);
        }
        // What its pods had before is still counted until the node is put together anew: no less than it is.
        (output, edited, node.load + self.parts.load_at_most(&used))
    }

    /// The sets that have `changed` among those of an output, each with its place.
    pub(super) fn newer(&self, sets: &[u32], changed: &[u32]) -> Few<(usize, &Arc<MemberSet>)> {
        let place = |id: &u32| sets.iter().position(|other| other == id);
        let stored = |id: &u32| self.parts.sets.registry.get(*id)?.value.stored.as_ref();
        changed.iter().filter_map(|id| Some((place(id)?, stored(id)?))).collect()
    }

    /// The places of the sets that a node's rule sets look up no longer, in order, and the sets that they look up now
    /// and did not before.
    fn sets(
        &self,
        node: &NodeEntry,
        before: &Output,
        frame: &Frame,
        used: &[u32],
        mut gone: Few<Arc<RuleSet>>,
    ) -> (Few<usize>, Few<(u32, Arc<MemberSet>)>) {
        let parts = || used.iter().filter_map(|id| self.parts.rule_sets.get(*id));
        let mut gained: Few<(u32, Arc<MemberSet>)> = Few::new();
        for id in parts().flat_map(|part| &part.value.sets) {
            let known = node.sets.contains(id) || gained.iter().any(|(other, _)| other == id);
            gained.extend(if known { None } else { self.members(*id).map(|set| (*id, set)) });
        }
        gone.retain(|rules| {
            let name = rules.fingerprint.rule_sets;
            let subjects = frame.subjects.matching(|print| print.rule_sets.overlaps(name));
            !subjects.flat_map(Subject::rule_sets).any(|other| Arc::ptr_eq(other, rules))
        });
        let mut lost: Few<usize> = Few::new();
        for set in gone.iter().flat_map(|rules| rules.sets()) {
            let used = || parts().flat_map(|part| part.value.rules.sets());
            if !used().any(|other| other.name == set.name) {
                lost.extend(before.place(&set.name));
            }
        }
        lost.sort_unstable();
        lost.dedup();
        if !lost.is_empty() {
            let rule_sets = frame.subjects.values().flat_map(Subject::rule_sets);
            for set in rule_sets.flat_map(|rules| rules.sets()) {
                lost.retain(|place| {
                    before.sets().get(*place).is_some_and(|other| other.definition.name != set.name)
                });
            }
        }
        (lost, gained)
    }
}
