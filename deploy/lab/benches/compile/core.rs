//! The one place where this bench calls the compiler's core.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flock_compiler_core::{Change, Output, Translator, render};
use flock_shared::Script;

/// Takes a cluster's objects to the full script of every node, each with its hash: translated in one pass, rendered
/// on every core, as the compiler does when all agents come at once.
pub(crate) fn full_scripts(changes: [Change; 4], mut take: impl FnMut(Script)) {
    let mut translator = Translator::new();
    for change in changes {
        translator.apply(change);
    }
    let outputs: Vec<Arc<Output>> =
        translator.pass().changes.into_iter().map(|change| change.after).collect();
    let (next, cores) = (AtomicUsize::new(0), std::thread::available_parallelism().map_or(1, usize::from));
    let (sender, scripts) = std::sync::mpsc::sync_channel(cores);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            let (sender, next, outputs) = (sender.clone(), &next, &outputs);
            scope.spawn(move || {
                while let Some(output) = outputs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if sender.send(render(output)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        scripts.into_iter().for_each(&mut take);
    });
}
