//! Output: what one node enforces, before it becomes a table.
//!
//! Everything but the node's rules itself is shared: a rule set, a union of peers or a set of pods that serves many nodes
//! exists once.

mod address_set;
mod guard;
mod isolated;
mod links;
mod node_rules;
pub mod revision;
mod rule_set;

use std::sync::Arc;

use flock_shared::{NodeName, Revision};
use smallvec::SmallVec;

use crate::identity::Name;
use crate::invariant::bug;
use node_rules::NodeRulesDigest;
use revision::SetTree;

pub use address_set::{AddressSet, DestinationPorts, Membership, PeerPort, SetDefinition};
pub use guard::{Closing, PodCidrGuard};
pub use isolated::IsolatedPods;
pub use links::{Links, NodeAddresses};
pub use node_rules::{Drops, Families, IsolatedPod, Isolation, NodeRules, Owners};
pub use rule_set::{Bits, BlockSet, Fingerprint, NamedRanges, RuleSet, Union};

/// What one node enforces, before it is a table.
///
/// ```text
/// Output ─┬─ NodeRules    the node's own: isolated pods, source checks, guarded pod CIDRs, links
///         │     └─ isolated pod ─▶ RuleSet   what a group of pods allows in one direction  ┐ shared by
///         └─ AddressSet   the members of each set that its rule sets look up               ┘ all nodes
///            Revision     the name of all of it: the root of a tree of digests
/// ```
///
/// It is a value: a change makes another one, which shares all that did not change. Outputs with one revision are laid
/// out to the same bytes on every replica; [`render`](crate::render) and [`diff`](crate::diff) are functions of nothing
/// else.
///
/// ```
/// use flock_compiler_core::{Output, render};
/// use flock_compiler_core::output::Families;
/// use flock_shared::NodeName;
///
/// let output = Output::empty(NodeName::new("worker-1").unwrap(), Families::default());
/// let script = render(&output);
/// let last = std::str::from_utf8(script.bytes()).unwrap().lines().last().unwrap();
/// assert!(last.starts_with(&format!("add set inet flock_netpol rev_{}", output.revision())));
///
/// // A function of the same objects with another layout has another name.
/// assert_ne!(output.closed().revision(), output.revision());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    node: NodeName,
    node_rules: Arc<NodeRules>,
    node_rules_digest: NodeRulesDigest,
    sets: Arc<[Arc<AddressSet>]>,
    tree: SetTree,
    revision: Revision,
    form: Form,
}

/// How an output is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As its objects ask for.
    Normal,
    /// Whoever is isolated is denied everything, in the plainest way: for a node that refuses the normal form.
    Closed,
}

impl Output {
    /// An output of a node's rules and the sets that its rule sets refer to, in any order.
    #[must_use]
    pub fn new(node: NodeName, node_rules: Arc<NodeRules>, mut sets: Vec<Arc<AddressSet>>) -> Self {
        sets.sort_unstable_by_key(|a| a.definition.name);
        let tree = SetTree::of(&sets);
        let node_rules_digest = NodeRulesDigest::of(&node_rules);
        let revision = tree.revision(&node_rules_digest);
        Self { node, node_rules, node_rules_digest, sets: sets.into(), tree, revision, form: Form::Normal }
    }

    /// The closed form: a function of the same objects, with a revision of its own.
    #[must_use]
    pub fn closed(&self) -> Self {
        let closed = |isolation: &Isolation| match isolation {
            Isolation::Open => Isolation::Open,
            Isolation::Closed | Isolation::Rules(_) | Isolation::All(_) => Isolation::Closed,
        };
        let isolated = self.node_rules.isolated.iter().map(|(address, pod)| {
            let [ingress, egress] = [&pod.ingress, &pod.egress].map(closed);
            // Without siblings: pairs that always reach each other take a concatenation, which may be what is
            // refused.
            (*address, IsolatedPod::new(ingress, egress, Box::default()))
        });
        // Links stay: they are the node's own, and no tenant's. Which ports are open pods' matters on bridges alone.
        let source_checks = match self.node_rules.links.pod_bridges.is_empty() {
            true => Arc::default(),
            false => Arc::clone(&self.node_rules.source_checks),
        };
        // Closed for good: who attends to the node is a construct that it may be refused for.
        let guard = self.node_rules.guard.as_deref().map(|guard| {
            let PodCidrGuard { cidrs, known4, known6, .. } = guard.clone();
            Arc::new(PodCidrGuard { cidrs, known4, known6, ..PodCidrGuard::default() })
        });
        let node_rules = NodeRules {
            isolated: isolated.collect(),
            source_checks,
            guard,
            // Sets that packets add to are constructs that it may be refused for.
            drops: Drops::Counted,
            ..NodeRules::clone(&self.node_rules)
        };
        // No set is needed: who is closed looks up no peers.
        let (tree, node_rules_digest) = (SetTree::of(&[]), NodeRulesDigest::of(&node_rules));
        let revision = tree.closed_revision(&node_rules_digest);
        let (node, node_rules) = (self.node.clone(), Arc::new(node_rules));
        Self { node, node_rules, node_rules_digest, sets: Arc::default(), tree, revision, form: Form::Closed }
    }

    /// How it is laid out.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// The output of a node on which nothing is isolated.
    #[must_use]
    pub fn empty(node: NodeName, families: Families) -> Self {
        Self::new(node, Arc::new(NodeRules { families, ..NodeRules::default() }), Vec::new())
    }

    /// The same rules of the node with the sets at some places replaced by newer ones of the same definition.
    #[must_use]
    pub(crate) fn with_sets<'a>(
        &self,
        newer: impl IntoIterator<Item = (usize, &'a Arc<AddressSet>)>,
    ) -> Self {
        let mut sets: Arc<[Arc<AddressSet>]> = self.sets.iter().cloned().collect();
        let mut changed: SmallVec<[&Name; 4]> = SmallVec::new();
        // Nobody else has them yet.
        let own = Arc::get_mut(&mut sets).unwrap_or_default();
        for (place, set) in newer {
            let name = &set.definition.name;
            match own.get_mut(place).filter(|known| known.definition.name == *name) {
                Some(known) => *known = Arc::clone(set),
                None => bug!("{name} is not at place {place} of the sets of {}", self.node),
            }
            changed.push(name);
        }
        // Names stay, so all but the buckets of these sets keep their digests.
        let tree = self.tree.refreshed(&sets, changed);
        let revision = tree.revision(&self.node_rules_digest);
        let (node, node_rules) = (self.node.clone(), Arc::clone(&self.node_rules));
        let (node_rules_digest, form) = (self.node_rules_digest, self.form);
        Self { node, node_rules, node_rules_digest, sets, tree, revision, form }
    }

    /// The output of other rules of the same node, which needs the sets of this one without those at some places,
    /// in order, and with others.
    #[must_use]
    pub(crate) fn patched(&self, node_rules: NodeRules, lost: &[usize], gained: &[Arc<AddressSet>]) -> Self {
        let node_rules_digest = NodeRulesDigest::of(&node_rules);
        // Where no set comes or goes the list stays the very same, by which a delta knows that none differs.
        let (mut sets, mut tree) = (Arc::clone(&self.sets), self.tree.clone());
        if !lost.is_empty() || !gained.is_empty() {
            let mut edited = sets.to_vec();
            let mut gone: SmallVec<[Arc<AddressSet>; 4]> = SmallVec::new();
            // From the last one, so that the places of those before it stay true.
            for place in lost.iter().rev() {
                if *place < edited.len() {
                    gone.push(edited.remove(*place));
                } else {
                    bug!("{} has no set at place {place} to lose", self.node);
                }
            }
            for set in gained {
                let name = &set.definition.name;
                match edited.binary_search_by(|other| other.definition.name.cmp(name)) {
                    Err(place) => edited.insert(place, Arc::clone(set)),
                    Ok(_) => bug!("{name} is gained by {}, which has it", self.node),
                }
            }
            tree = tree.refreshed(&edited, gone.iter().chain(gained).map(|set| &set.definition.name));
            sets = edited.into();
        }
        let revision = tree.revision(&node_rules_digest);
        let (node, node_rules, form) = (self.node.clone(), Arc::new(node_rules), self.form);
        Self { node, node_rules, node_rules_digest, sets, tree, revision, form }
    }

    /// The same output, with the node's rules of another one if both are equal.
    #[must_use]
    pub(crate) fn sharing_node_rules(self, other: &Self) -> Self {
        // The digest first, since it is cheap. It is not enough: owners are no part of it.
        if self.node_rules_digest == other.node_rules_digest && self.node_rules == other.node_rules {
            Self { node_rules: Arc::clone(&other.node_rules), ..self }
        } else {
            self
        }
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &NodeName {
        &self.node
    }

    /// All but the members of sets of pods.
    #[must_use]
    pub const fn node_rules(&self) -> &Arc<NodeRules> {
        &self.node_rules
    }

    /// The sets of pods that rule sets of the node's rules refer to, ordered by name.
    #[must_use]
    pub fn sets(&self) -> &[Arc<AddressSet>] {
        &self.sets
    }

    /// Returns true if both have the very same sets. Where they do not, equal ones may be there twice.
    pub(crate) fn shares_sets_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sets, &other.sets)
    }

    /// The set of a definition's name.
    #[must_use]
    pub fn set(&self, name: &Name) -> Option<&Arc<AddressSet>> {
        self.place(name).ok().and_then(|place| self.sets.get(place))
    }

    /// Where the set of a definition's name stands among [`Self::sets`], or would stand.
    pub(crate) fn place(&self, name: &Name) -> Result<usize, usize> {
        self.sets.binary_search_by(|set| set.definition.name.cmp(name))
    }

    /// The name of the state that this output describes: equal for equal rules and members, whatever led there.
    #[must_use]
    pub const fn revision(&self) -> &Revision {
        &self.revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::Members;

    fn output() -> Output {
        Output::empty(NodeName::new("n1").unwrap(), Families::default())
    }

    fn set() -> Arc<AddressSet> {
        let definition = SetDefinition { name: Name::new(0, 1), ..Membership::Pods(Box::default()).into() };
        Arc::new(AddressSet::new(Arc::new(definition), Members::default(), Members::default()))
    }

    #[test]
    #[should_panic(
        expected = "a broken invariant: 00000000000000000000000000000001 is not at place 7 of the sets of n1"
    )]
    fn a_set_that_an_output_does_not_have_gets_no_members() {
        let _ = output().with_sets([(7, &set())]);
    }

    #[test]
    #[should_panic(expected = "a broken invariant: n1 has no set at place 7 to lose")]
    fn an_output_loses_no_set_that_it_does_not_have() {
        let _ = output().patched(NodeRules::default(), &[7], &[]);
    }
}
