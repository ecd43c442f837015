//! The one place where this bench calls the compiler's core.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flock_compiler_core::{Change, KeepDrops, Options, Output, Translator, render};
use flock_shared::Script;

/// Takes a cluster's objects to the full script of every node, each with its hash: translated in one pass, rendered
/// on every core, as the compiler does when all agents come at once. Whoever rendered a script passes it on. The
/// translator is there for the next change.
#[must_use]
pub(crate) fn full_scripts(
    changes: [Change; 5],
    drops: KeepDrops,
    take: impl Fn(Script) + Sync,
) -> Translator {
    let mut translator = Translator::with(Options { drops, ..Options::default() });
    for change in changes {
        translator.apply(change);
    }
    let outputs: Vec<Arc<Output>> =
        translator.pass().changes.into_iter().map(|change| change.after).collect();
    let (next, cores) = (AtomicUsize::new(0), std::thread::available_parallelism().map_or(1, usize::from));
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(output) = outputs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    take(render(output));
                }
            });
        }
    });
    translator
}
