//! The one place where this bench calls the compiler's core.

use flock_compiler_core::{Change, World, render, translate};
use flock_shared::Script;

/// Takes a cluster's objects to the full script of every node, each with its hash.
pub(crate) fn full_scripts(changes: [Change; 4], mut take: impl FnMut(Script)) {
    let mut world = World::default();
    for change in changes {
        world.apply(change);
    }
    let translation = translate(&world);
    for node in world.node_names() {
        take(render(&translation.output(node)).script);
    }
}
