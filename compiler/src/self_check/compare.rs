//! What is published, against a translation of the same objects from nothing. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use flock_compiler_core::object::{Facts, Namespace, Node, NodePods, Overdue, Pod, Policy};
use flock_compiler_core::translate::translate_with;
use flock_compiler_core::{Change, Edit, Output, Translator, World};
use flock_shared::{NodeName, Revision};

use crate::mirror::Snapshot;

/// A node that a translation from nothing gives another table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    node: NodeName,
    published: Option<Revision>,
    fresh: Revision,
    sequence: u64,
    how: &'static str,
}

/// With all that is needed to see it again, beside the objects.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, published, fresh, sequence, how } = self;
        let published = published.as_ref().map_or_else(|| "nothing".to_owned(), Revision::to_string);
        write!(
            f,
            "self-check: at pass {sequence} node {node} should have revision {fresh}, by a translation of the same objects \
             {how}, and {published} is published"
        )
    }
}

/// The nodes that differ. A translation that breaks is no measure, and is reported by the engine itself.
pub(super) fn differences(snapshot: &Snapshot) -> Vec<Difference> {
    let mirrored = &snapshot.mirrored;
    let fresh = translate_with(&mirrored.world, snapshot.options);
    // A translation that broke an invariant is nothing to compare with.
    if fresh.broken().is_some() {
        return Vec::new();
    }
    differing(snapshot, fresh.nodes(), "from nothing")
}

/// The nodes that differ from a translation of the same objects that come one by one, in the reverse of their order.
pub(super) fn replayed(snapshot: &Snapshot) -> Vec<Difference> {
    let mut translator = Translator::with(snapshot.options);
    // The indexes are there from here on, and objects are added to them.
    translator.pass();
    for change in reversed(&snapshot.mirrored.world) {
        translator.apply(change);
    }
    let pass = translator.pass();
    if pass.broken.is_some() {
        return Vec::new();
    }
    let nodes = pass.changes.into_iter().map(|change| (change.after.node().clone(), change.after)).collect();
    differing(snapshot, &nodes, "in another order")
}

/// All objects of a world, kind by kind, the last first.
fn reversed(world: &World) -> impl Iterator<Item = Change> {
    let overdue: Vec<&Overdue> = world.overdue().collect();
    let overdue = overdue.into_iter().rev().map(|it| Change::Overdue(Edit::Upsert(it.clone())));
    let facts = world.facts().values().rev().map(|it| Change::Facts(Edit::Upsert(Facts::clone(it))));
    let policies = world.policies().values().rev().map(|it| Change::Policy(Edit::Upsert(Policy::clone(it))));
    let pods = world.pods().values().rev().map(|it| Change::Pod(Edit::Upsert(Pod::clone(it))));
    let node_pods =
        world.node_pods().values().rev().map(|it| Change::NodePods(Edit::Upsert(NodePods::clone(it))));
    let namespaces =
        world.namespaces().values().rev().map(|it| Change::Namespace(Edit::Upsert(Namespace::clone(it))));
    let nodes = world.nodes().values().rev().map(|it| Change::Node(Edit::Upsert(Node::clone(it))));
    overdue.chain(facts).chain(policies).chain(pods).chain(node_pods).chain(namespaces).chain(nodes)
}

fn differing(
    snapshot: &Snapshot,
    nodes: &BTreeMap<NodeName, Arc<Output>>,
    how: &'static str,
) -> Vec<Difference> {
    let mirrored = &snapshot.mirrored;
    let differs = |(node, output): (&NodeName, &Arc<Output>)| {
        let published = mirrored.outputs.get(node).map(|output| output.revision());
        (published != Some(output.revision())).then(|| Difference {
            node: node.clone(),
            published: published.cloned(),
            fresh: output.revision().clone(),
            sequence: mirrored.sequence.number(),
            how,
        })
    };
    nodes.iter().filter_map(differs).collect()
}
