//! The one place where this bench calls the compiler's core.

use flock_compiler_core::{Change, Translator, Work, render};
use flock_shared::Script;

/// What an event came to.
pub(crate) struct Done {
    /// The transaction of every node that it touched.
    pub(crate) scripts: Vec<Script>,
    /// Those of them that are full scripts, since no delta leads there.
    pub(crate) full: usize,
    pub(crate) work: Work,
}

/// A translator that has seen a whole cluster.
pub(crate) fn translator(changes: [Change; 4]) -> Translator {
    let mut translator = Translator::new();
    for change in changes {
        translator.apply(change);
    }
    drop(translator.pass());
    translator
}

/// Takes one event to the scripts of all nodes that it touches, each with its hash.
pub(crate) fn follow(translator: &mut Translator, change: Change) -> Done {
    translator.apply(change);
    let pass = translator.pass();
    let mut full = 0;
    let script = |node: &flock_compiler_core::NodeChange| match (&node.before, &node.body) {
        (Some(before), Some(body)) => body.script(before.revision(), node.after.revision()),
        _ => {
            full += 1;
            render(&node.after)
        }
    };
    let scripts = pass.changes.iter().map(script).collect();
    Done { scripts, full, work: pass.work }
}
