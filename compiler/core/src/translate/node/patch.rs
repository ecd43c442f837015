//! A node on which policies isolate some pods in another way, while its pods are as they were: the node's rules and the sets
//! of its output are edited, not put together anew.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::collections::ids::{PodId, RuleSetId, SetId};
use crate::invariant::bug;
use crate::output::{AddressSet, IsolatedPod, NodeRules, Output, RuleSet};
use crate::translate::budget::load::Load;
use crate::translate::index::cluster::NodeEntry;
use crate::translate::node::output::NodeSources;

/// Beyond this many pods, or sets with new members, putting the output together anew is no dearer.
pub(in crate::translate) const MANY: usize = 16;

/// The sets that a node's output refers to no longer, and does from now on.
struct SetChanges {
    /// Their places in the output before, in order.
    lost: SmallVec<[usize; 4]>,
    gained: SmallVec<[(SetId, Arc<AddressSet>); 4]>,
}

/// A node on which policies isolate some pods in another way than before. Each of the pods owns its addresses alone, and no
/// namespace is closed on the node.
pub(in crate::translate) struct NodePatch<'a> {
    pub(in crate::translate) sources: NodeSources<'a>,
    pub(in crate::translate) node: &'a NodeEntry,
    /// Its output so far.
    pub(in crate::translate) before: &'a Output,
    pub(in crate::translate) pods: &'a [PodId],
    /// Sets that have new members, of which it may look up some.
    pub(in crate::translate) changed: &'a [SetId],
}

/// What a patch comes to.
pub(in crate::translate) struct Patched {
    pub(in crate::translate) output: Output,
    /// The sets that it refers to, in the output's order, if they are others than before.
    pub(in crate::translate) sets: Option<Vec<SetId>>,
    /// At most so much its rule sets come to.
    pub(in crate::translate) load: Load,
}

impl NodePatch<'_> {
    /// The output afterwards.
    pub(in crate::translate) fn apply(&self) -> Patched {
        let Self { sources, node, before, pods, changed } = *self;
        let (mut isolated, mut used) = (SmallVec::new(), SmallVec::new());
        let known = before.node_rules();
        let mut owners = Arc::clone(&known.owners);
        let mut edits: SmallVec<[(IpAddr, Option<IsolatedPod>); 4]> = SmallVec::new();
        let mut gone: SmallVec<[Arc<RuleSet>; 4]> = SmallVec::new();
        for id in pods {
            sources.isolated(*id, &BTreeMap::new(), &mut isolated, &mut used);
            // All of its addresses, not only those that are isolated: one may have been isolated before.
            for (address, _) in sources.indexes.cluster.owned(*id) {
                let place = isolated.iter().position(|(other, _)| *other == address);
                let pod = place.map(|place| isolated.swap_remove(place).1);
                let old = known.isolated.get(&address);
                gone.extend(old.into_iter().flat_map(IsolatedPod::rule_sets).cloned());
                match (old, &pod) {
                    (None, Some(_)) => {
                        Arc::make_mut(&mut owners).insert(address, sources.owners_of(*id, &address));
                    }
                    (Some(_), None) => _ = Arc::make_mut(&mut owners).remove(&address),
                    (None, None) | (Some(_), Some(_)) => {}
                }
                edits.push((address, pod));
            }
        }
        if !isolated.is_empty() {
            bug!("{pods:?} have {isolated:?} at addresses that they do not own");
        }
        edits.sort_unstable_by_key(|(address, _)| *address);
        let isolated = known.isolated.edited(edits);
        let (source_checks, guard) = (Arc::clone(&known.source_checks), known.guard.clone());
        let links = Arc::clone(&known.links);
        let node_rules = NodeRules {
            families: known.families,
            isolated,
            owners,
            source_checks,
            guard,
            links,
            drops: known.drops,
        };
        used.sort_unstable();
        used.dedup();
        let SetChanges { lost, mut gained } = self.sets(&node_rules, &used, gone);
        gained.sort_unstable_by_key(|(_, a)| a.definition.name);
        let (ids, members): (SmallVec<[SetId; 4]>, SmallVec<[Arc<AddressSet>; 4]>) =
            gained.into_iter().unzip();
        let mut output = before.patched(node_rules, &lost, &members);
        let edited = (!lost.is_empty() || !members.is_empty()).then(|| {
            let mut sets = node.sets.clone();
            // From the last place to the first, so that the places still to come stay right.
            lost.iter().rev().for_each(|place| _ = sets.remove(*place));
            for (id, set) in ids.into_iter().zip(&members) {
                match output.place(&set.definition.name) {
                    Ok(place) => sets.insert(place, id),
                    Err(_) => bug!("{id:?} is not in the output that has gained it"),
                }
            }
            sets
        });
        let sets = edited.as_ref().unwrap_or(&node.sets);
        let newer = sources.newer(sets, changed);
        if !newer.is_empty() {
            output = output.with_sets(newer);
        }
        // What its pods had before is still counted until the node is assembled anew: no less than it is.
        let load = node.load + sources.indexes.rule_sets.load_at_most(&used);
        Patched { output, sets: edited, load }
    }

    /// Which sets a node's rule sets look up no longer, and which they look up now and did not before.
    fn sets(
        &self,
        node_rules: &NodeRules,
        used: &[RuleSetId],
        mut gone: SmallVec<[Arc<RuleSet>; 4]>,
    ) -> SetChanges {
        let Self { sources, node, before, .. } = *self;
        let parts = || used.iter().filter_map(|id| sources.indexes.rule_sets.interner.there(*id));
        let mut gained: SmallVec<[(SetId, Arc<AddressSet>); 4]> = SmallVec::new();
        for id in parts().flat_map(|part| &part.value.sets) {
            let known = node.sets.contains(id) || gained.iter().any(|(other, _)| other == id);
            gained.extend(if known { None } else { sources.members(*id).map(|set| (*id, set)) });
        }
        gone.retain(|rules| {
            // A few bits of the names in each chunk rule most chunks out, so few pods are looked at.
            let name = rules.fingerprint.rule_sets;
            let isolated = node_rules.isolated.matching(|print| print.rule_sets.overlaps(name));
            !isolated.flat_map(IsolatedPod::rule_sets).any(|other| Arc::ptr_eq(other, rules))
        });
        let mut lost: SmallVec<[usize; 4]> = SmallVec::new();
        for set in gone.iter().flat_map(|rules| rules.sets()) {
            let used = || parts().flat_map(|part| part.value.rules.sets());
            if !used().any(|other| other.name == set.name) {
                match before.place(&set.name) {
                    Ok(place) => lost.push(place),
                    Err(_) => bug!("{:?} was looked up, and is not in the output", set.name),
                }
            }
        }
        lost.sort_unstable();
        lost.dedup();
        // What other pods of the node look up stays. That takes all rule sets of the node, so candidates are found
        // first.
        if !lost.is_empty() {
            let rule_sets = node_rules.isolated.values().flat_map(IsolatedPod::rule_sets);
            for set in rule_sets.flat_map(|rules| rules.sets()) {
                lost.retain(|place| {
                    before.sets().get(*place).is_some_and(|other| other.definition.name != set.name)
                });
            }
        }
        SetChanges { lost, gained }
    }
}
