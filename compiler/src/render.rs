//! `flock-compiler render`: manifests in, one node's full script out.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use flock_compiler_core::nft::read::GRAMMAR;
use flock_compiler_core::object::Facts;
use flock_compiler_core::translate::translate_with;
use flock_compiler_core::{Change, Edit, Options, Problem, World, render as render_output};

use crate::cli::Render;
use flock_convert::manifests::Manifests;

/// How rendering ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rendering {
    /// The script is on standard output.
    Done,
    /// The input is bad: the messages say where, and nothing was printed.
    BadInput,
}

/// Renders one node's script to `out`; notes and problems go to `err`, a line each.
///
/// # Errors
/// When `out` or `err` cannot be written.
pub fn render(options: &Render, out: &mut impl Write, err: &mut impl Write) -> io::Result<Rendering> {
    let manifests = Manifests::load(&options.manifests, &options.interfaces.host_iface.clone().into());
    for note in &manifests.notes {
        writeln!(err, "note: {note}")?;
    }
    let settings = Options {
        unready_pods: options.unready.unready_pods,
        trust: options.interfaces.trust(),
        drops: options.dropped.drops,
        ..Options::default()
    };
    let mut world = World::trusting(settings.trust);
    for change in manifests.listings() {
        world.apply(change);
    }
    // What is rendered is what an agent of this release would be sent.
    let facts = Facts { grammar: GRAMMAR, drops: true, ..Facts::nothing_of(options.node.clone()) };
    world.apply(Change::Facts(Edit::Upsert(facts)));
    let translation = translate_with(&world, settings);
    if let Some(broken) = translation.broken() {
        return Err(io::Error::other(format!(
            "an invariant of the translation is broken, please report this: {broken}"
        )));
    }
    let problems = located(translation.problems().to_vec(), &manifests.origins);
    let mut acceptable = manifests.errors.is_empty();
    for error in &manifests.errors {
        writeln!(err, "error: {error}")?;
    }
    for problem in &problems {
        let is_error = problem.consequence.is_invalid_input() && !options.allow_invalid;
        acceptable &= !is_error;
        writeln!(err, "{}: {problem}", if is_error { "error" } else { "warning" })?;
    }
    if let Some(message) = isolates_nothing(&manifests) {
        acceptable &= options.allow_ignored;
        writeln!(err, "{}: {message}", if options.allow_ignored { "warning" } else { "error" })?;
    }
    if !acceptable {
        return Ok(Rendering::BadInput);
    }
    if !world.node_names().contains(&options.node) {
        writeln!(
            err,
            "note: no Node object and no pod names node {:?}: nothing is isolated there",
            options.node.as_str()
        )?;
    }
    let normal = translation.output(&options.node);
    let output = if options.closed { Arc::new(normal.closed()) } else { normal };
    out.write_all(render_output(&output).bytes())?;
    out.flush()?;
    Ok(Rendering::Done)
}

/// Why a script of these manifests would isolate nothing, although somebody may believe it does: policies apply to pods, and
/// there is only what makes pods.
fn isolates_nothing(manifests: &Manifests) -> Option<String> {
    let (first, _) = manifests.workloads.first().filter(|_| manifests.objects.pods.is_empty())?;
    let others = manifests.workloads.iter().map(|(_, count)| count).sum::<usize>() - 1;
    let others = match others {
        0 => String::new(),
        1 => " and 1 more workload".to_owned(),
        others => format!(" and {others} more workloads"),
    };
    Some(format!(
        "this isolates nothing: there is {first}{others}, and not one Pod; policies apply to pods, which \
         `kubectl get pods -A -o yaml` prints (--allow-ignored renders all the same)"
    ))
}

/// Fills in the file of problems that are between objects.
fn located(mut problems: Vec<Problem>, origins: &BTreeMap<String, Arc<str>>) -> Vec<Problem> {
    for problem in problems.iter_mut().filter(|problem| problem.origin.is_none()) {
        problem.origin = origins.get(&problem.object).cloned();
    }
    problems
}
