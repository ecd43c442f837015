//! What is published, against a translation of the same objects from nothing. Pure.

use std::fmt;
use std::sync::Arc;

use flock_compiler_core::Output;
use flock_compiler_core::translate::translate_with;
use flock_shared::{NodeName, Revision};

use crate::mirror::Snapshot;

/// A node that a translation from nothing gives another table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    node: NodeName,
    published: Option<Revision>,
    fresh: Revision,
    sequence: u64,
}

/// With all that is needed to see it again, beside the objects.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, published, fresh, sequence } = self;
        let published = published.as_ref().map_or_else(|| "nothing".to_owned(), Revision::to_string);
        write!(
            f,
            "self-check: at pass {sequence} node {node} should have revision {fresh}, by a translation of the same objects from \
             nothing, and {published} is published"
        )
    }
}

/// The nodes that differ. A translation that breaks is no measure, and is reported by the engine itself.
pub(super) fn differences(snapshot: &Snapshot) -> Vec<Difference> {
    let mirrored = &snapshot.mirrored;
    let fresh = translate_with(&mirrored.world, snapshot.options);
    if fresh.broken().is_some() {
        return Vec::new();
    }
    let differs = |(node, output): (&NodeName, &Arc<Output>)| {
        let published = mirrored.outputs.get(node).map(|output| output.revision());
        (published != Some(output.revision())).then(|| Difference {
            node: node.clone(),
            published: published.cloned(),
            fresh: output.revision().clone(),
            sequence: mirrored.sequence.number(),
        })
    };
    fresh.nodes().iter().filter_map(differs).collect()
}
