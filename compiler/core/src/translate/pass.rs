//! The pass: what a burst of changes means for groups, sets and nodes.
//!
//! Its cost follows what changed: groups whose rules or pods differ, sets that gained or lost members, and the nodes
//! that refer to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use flock_shared::NodeName;

use super::frames::Sources;
use super::groups::Outcome;
use super::parts::Ground;
use super::{Translator, parallel};
use crate::delta::{Body, diff, member_changes};
use crate::object::Direction;
use crate::output::{MemberSet, Output};

/// What a pass came to.
#[derive(Debug, Default)]
pub struct Pass {
    /// The nodes whose outputs differ from those of the pass before, by name.
    pub changes: Vec<NodeChange>,
    /// Nodes that nothing names any more, by name.
    pub gone: Vec<NodeName>,
    /// Whether [`Translator::problems`] may differ.
    pub problems: bool,
    /// What was done.
    pub work: Work,
}

/// A node with a new output.
#[derive(Debug, Clone)]
pub struct NodeChange {
    /// The output of the pass before; `None`: the node is new.
    pub before: Option<Arc<Output>>,
    /// The output now.
    pub after: Arc<Output>,
    /// The transaction from the one to the other, if both differ in their tables and one leads there (see
    /// [`diff`]). Nodes with the same changes share it.
    pub body: Option<Arc<Body>>,
}

/// What a pass has done, in counts that do not depend on the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Pods whose policies were looked up.
    pub pods: usize,
    /// Groups whose rules were merged.
    pub groups: usize,
    /// Sets that gained or lost members.
    pub sets: usize,
    /// Nodes whose frame was put together.
    pub frames: usize,
    /// Nodes that only got new members.
    pub members: usize,
    /// Transactions that were written.
    pub bodies: usize,
}

/// Takes numbers out, each once, in order.
fn distinct(ids: &mut Vec<u32>) -> Vec<u32> {
    let mut ids = std::mem::take(ids);
    ids.sort_unstable();
    ids.dedup();
    ids
}

impl Translator {
    /// Brings the outputs up to date with the world.
    pub fn pass(&mut self) -> Pass {
        let mut work = Work::default();
        let first = self.look_at_new_world();
        let mut affected = self.regroup(&mut work);
        let families = self.cluster.families();
        if families != self.families {
            self.families = families;
            self.dirty.nodes.extend(self.cluster.nodes().map(|(id, _)| id));
        }
        if std::mem::take(&mut self.dirty.contested) {
            self.groups.review_all();
        }
        let over_budget = self.any_over_budget();
        let mut ground = Ground { cluster: &mut self.cluster, peers: &mut self.peers };
        work.groups = self.groups.refresh(&self.subjects, &mut self.parts, &mut ground, &mut affected);
        self.groups.sweep(&mut self.subjects, &mut self.parts);
        let (changed, counted) = self.parts.sets.settle();
        work.sets = changed.len();
        let crossed = self.parts.review(&counted, ground.cluster);
        self.parts.sweep(&mut ground);
        let renamed = self.parts.rename();
        if !crossed.is_empty() || !renamed.is_empty() {
            let rules: BTreeSet<u32> = crossed.into_iter().chain(renamed).collect();
            let of = |outcome| matches!(outcome, Outcome::Rules(id) if rules.contains(&id));
            affected
                .extend(self.groups.iter().filter(|(_, g)| of(g.outcome)).flat_map(|(_, g)| g.pods.iter()));
        }
        if !first {
            self.touch_nodes_of(&distinct(&mut affected));
        }
        let (mut changes, gone) = self.rebuild(&mut work);
        changes.extend(self.follow_members(&changed, &mut work));
        changes.sort_by(|a, b| a.after.node().cmp(b.after.node()));
        let problems = std::mem::take(&mut self.dirty.problems) || over_budget || self.any_over_budget();
        Pass { changes, gone, problems, work }
    }

    fn any_over_budget(&self) -> bool {
        self.groups.any_over_budget() || self.parts.any_over_budget()
    }

    /// Puts dirty pods into the groups that they belong to; those that moved.
    fn regroup(&mut self, work: &mut Work) -> Vec<u32> {
        let pods = distinct(&mut self.dirty.pods);
        work.pods = pods.len();
        let (cluster, subjects) = (&self.cluster, &self.subjects);
        let rules = parallel::map(&pods, |id| {
            let entry = cluster.pod(*id).filter(|_| cluster.owned(*id).next().is_some())?;
            Some(subjects.rules_of(entry))
        });
        let mut moved = Vec::new();
        for (id, rules) in pods.into_iter().zip(rules) {
            for (direction, rules) in Direction::ALL.into_iter().zip(rules.unwrap_or_default()) {
                if self.groups.place(id, direction, rules, &mut self.subjects, &mut self.cluster) {
                    moved.push(id);
                }
            }
        }
        moved
    }

    /// The nodes of these pods, and of those that share an address with one of them.
    fn touch_nodes_of(&mut self, pods: &[u32]) {
        for id in pods {
            self.dirty.nodes.extend(self.cluster.pod(*id).and_then(|entry| entry.node));
            for (address, alone) in self.cluster.owned(*id) {
                if !alone {
                    let owners = self.cluster.owners_of(&address);
                    self.dirty.nodes.extend(owners.iter().filter_map(|owner| self.cluster.pod(*owner)?.node));
                }
            }
        }
    }

    /// Puts the outputs of dirty nodes together anew.
    fn rebuild(&mut self, work: &mut Work) -> (Vec<NodeChange>, Vec<NodeName>) {
        let mut gone = Vec::new();
        let mut dirty: Vec<u32> = Vec::new();
        for id in distinct(&mut self.dirty.nodes) {
            match self.cluster.remove_node_if_gone(id) {
                Some(node) => {
                    self.parts.sets.leave(id, &node.sets);
                    // One that came and went between two passes was never seen.
                    gone.extend(node.output.is_some().then_some(node.name));
                }
                None => dirty.push(id),
            }
        }
        gone.sort_unstable();
        work.frames = dirty.len();
        let sources = Sources {
            cluster: &self.cluster,
            groups: &self.groups,
            parts: &self.parts,
            families: self.families,
        };
        let built = parallel::map(&dirty, |id| {
            let node = sources.cluster.node(*id)?;
            let (output, sets) = sources.output(node);
            Some(match &node.output {
                None => (None, sets, Some(NodeChange { before: None, after: Arc::new(output), body: None })),
                Some(before) => {
                    let after = output.sharing_frame(before);
                    let change = (**before != after).then(|| {
                        let differs = before.revision() != after.revision();
                        let transaction = differs.then(|| diff(before, &after)).flatten();
                        let body = transaction.map(|transaction| Arc::new(Body::of(&transaction)));
                        NodeChange { before: Some(Arc::clone(before)), after: Arc::new(after), body }
                    });
                    (node.output.clone(), sets, change)
                }
            })
        });
        let mut changes = Vec::new();
        for (id, built) in dirty.into_iter().zip(built) {
            let Some((before, sets, change)) = built else { continue };
            let Some(node) = self.cluster.node_mut(id) else { continue };
            node.output = change.as_ref().map(|change| Arc::clone(&change.after)).or(before);
            if node.sets != sets {
                let old = std::mem::replace(&mut node.sets, sets);
                self.parts.sets.leave(id, &old);
                self.parts.sets.join(id, &node.sets);
            }
            work.bodies += usize::from(change.as_ref().is_some_and(|change| change.body.is_some()));
            changes.extend(change);
        }
        (changes, gone)
    }

    /// Takes new members over into the outputs that refer to their sets.
    fn follow_members(&mut self, changed: &[u32], work: &mut Work) -> Vec<NodeChange> {
        let mut by_node: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for set in changed {
            let nodes = self.parts.sets.registry.get(*set).map(|part| &part.value.nodes);
            for node in nodes.into_iter().flat_map(|nodes| nodes.iter()) {
                by_node.entry(node).or_default().push(*set);
            }
        }
        // A node whose frame was put together has the new members already.
        let current = |node: &u32, sets: &[u32]| -> Option<Arc<Output>> {
            let output = self.cluster.node(*node)?.output.as_ref()?;
            let behind = sets.iter().any(|id| {
                self.stored(*id).is_some_and(|set| {
                    output.set(&set.definition.name).is_some_and(|known| !Arc::ptr_eq(known, set))
                })
            });
            behind.then(|| Arc::clone(output))
        };
        let behind: Vec<(u32, Vec<u32>, Arc<Output>)> = by_node
            .into_iter()
            .filter_map(|(node, sets)| current(&node, &sets).map(|output| (node, sets, output)))
            .collect();
        let mut bodies: HashMap<&[u32], Option<Arc<Body>>> = HashMap::new();
        for (_, sets, output) in &behind {
            bodies.entry(sets).or_insert_with(|| {
                work.bodies += 1;
                let pairs = sets.iter().filter_map(|id| {
                    let new = self.stored(*id)?;
                    Some((output.set(&new.definition.name)?, new))
                });
                let transaction = member_changes(pairs, self.families);
                transaction.map(|transaction| Arc::new(Body::of(&transaction)))
            });
        }
        let changes = parallel::map(&behind, |(node, sets, before)| {
            let newer = sets.iter().filter_map(|id| self.stored(*id));
            let after = Arc::new(before.with_sets(newer));
            let body = bodies.get(&**sets).cloned().flatten();
            (*node, NodeChange { before: Some(Arc::clone(before)), after, body })
        });
        work.members = changes.len();
        let mut all = Vec::with_capacity(changes.len());
        for (id, change) in changes {
            if let Some(node) = self.cluster.node_mut(id) {
                node.output = Some(Arc::clone(&change.after));
            }
            all.push(change);
        }
        all
    }

    fn stored(&self, set: u32) -> Option<&Arc<MemberSet>> {
        self.parts.sets.registry.get(set)?.value.stored.as_ref()
    }
}
