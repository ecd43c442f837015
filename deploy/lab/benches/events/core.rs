//! The one place where this bench calls the compiler's core.

use std::sync::Mutex;

use flock_compiler_core::{Change, KeepDrops, NodeChange, Options, Pass, Translator, render};
use flock_shared::{Script, Superseded};

/// So many scripts a thread writes at a time.
const SOME: usize = 256;

/// What an event came to.
pub(crate) struct Done {
    /// The transaction of every node that it touched, in any order.
    pub(crate) scripts: Vec<Script>,
    /// Those of them that are full scripts, since no delta leads there.
    pub(crate) full: usize,
    /// With the outputs before, which the compiler too drops when the deltas are on their way.
    pub(crate) pass: Pass,
}

/// A translator that has seen a whole cluster.
pub(crate) fn translator(changes: [Change; 5], drops: KeepDrops) -> Translator {
    let mut translator = Translator::with(Options { drops, ..Options::default() });
    for change in changes {
        translator.apply(change);
    }
    drop(translator.pass());
    translator
}

/// Takes one event to the scripts of all nodes that it touches, each with its hash: on every core, as the compiler does
/// when it sends them.
pub(crate) fn follow(translator: &mut Translator, change: Change) -> Done {
    translator.apply(change);
    let pass = translator.pass();
    let scripts = scripts(&pass.changes);
    let full = scripts.iter().filter(|(_, full)| *full).count();
    Done { scripts: scripts.into_iter().map(|(script, _)| script).collect(), full, pass }
}

/// The scripts of all nodes, made by threads that take some at a time, as the compiler's streams are served.
fn scripts(changes: &[NodeChange]) -> Vec<(Script, bool)> {
    let turns = &Mutex::new(changes.chunks(SOME));
    let next = || turns.lock().ok()?.next();
    let write = || std::iter::from_fn(next).flatten().map(script).collect();
    // A thread takes longer to start than a few scripts to write.
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(changes.len().div_ceil(SOME));
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..cores).map(|_| scope.spawn(write)).collect();
        let mut scripts: Vec<(Script, bool)> = write();
        for other in others {
            match other.join() {
                Ok(other) => scripts.extend(other),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        scripts
    })
}

/// The script that takes a node's agent to its new output, and whether it is a full one.
fn script(change: &NodeChange) -> (Script, bool) {
    match (&change.before, &change.body) {
        (Some(before), Some(body)) => {
            let end = body.end(before.revision(), change.after.revision(), &Superseded::default());
            (body.script(&end), false)
        }
        _ => (render(&change.after), true),
    }
}
