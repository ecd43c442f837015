//! The one place where this bench calls the compiler's core.

use flock_compiler_core::{Change, Translator, render};
use flock_shared::Script;

/// Takes a cluster's objects to the full script of every node, each with its hash.
pub(crate) fn full_scripts(changes: [Change; 4], mut take: impl FnMut(Script)) {
    let mut translator = Translator::new();
    for change in changes {
        translator.apply(change);
    }
    for node in translator.pass().changes {
        take(render(&node.after));
    }
}
