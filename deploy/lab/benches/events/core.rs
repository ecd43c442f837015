//! The one place where this bench calls the compiler's core.

use flock_compiler_core::{Change, NodeChange, Pass, Translator, render};
use flock_shared::{Script, Superseded};

/// What an event came to.
pub(crate) struct Done {
    /// The transaction of every node that it touched.
    pub(crate) scripts: Vec<Script>,
    /// Those of them that are full scripts, since no delta leads there.
    pub(crate) full: usize,
    /// With the outputs before, which the compiler too drops when the deltas are on their way.
    pub(crate) pass: Pass,
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

/// Takes one event to the scripts of all nodes that it touches, each with its hash: on every core, as the compiler does
/// when it sends them.
pub(crate) fn follow(translator: &mut Translator, change: Change) -> Done {
    translator.apply(change);
    let pass = translator.pass();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // A thread takes longer to start than a few scripts to write.
    let share = pass.changes.len().div_ceil(cores).max(256);
    let scripts: Vec<(Script, bool)> = std::thread::scope(|scope| {
        let mut shares = pass.changes.chunks(share);
        let own = shares.next().unwrap_or_default();
        let others: Vec<_> = shares.map(|share| scope.spawn(|| share.iter().map(script).collect())).collect();
        let mut scripts: Vec<(Script, bool)> = own.iter().map(script).collect();
        for other in others {
            match other.join() {
                Ok(other) => scripts.extend::<Vec<_>>(other),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        scripts
    });
    let full = scripts.iter().filter(|(_, full)| *full).count();
    Done { scripts: scripts.into_iter().map(|(script, _)| script).collect(), full, pass }
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
