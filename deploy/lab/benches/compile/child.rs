//! What is measured in a process of its own, so that one peak of memory does not hide another.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use flock_compiler_core::{KeepDrops, World};
use flock_lab::figures::{memory, reset_peak, summary};
use flock_shapes::Shape;
use serde::{Deserialize, Serialize};

use crate::ancestor::Ancestor;
use crate::core;

/// How long the ancestor's way is followed before the rest is extrapolated.
const PATIENCE: Duration = Duration::from_secs(4);
/// What the ancestor may write for one node before it is cut short, in bytes; and to see that it runs.
const LIMIT: usize = 256 << 20;
const SHORT: usize = 1 << 20;

/// What a child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Task {
    /// Ours, all scripts kept until the last is made.
    Keep,
    /// Ours, each script dropped once it is made.
    Drop,
    /// The ancestor's way.
    Ancestor,
}

/// What a child reports; bytes and seconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Resident with the objects alone, and at most from then on until the last script.
    pub(crate) objects: u64,
    pub(crate) peak: u64,
    /// The median run.
    pub(crate) seconds: f64,
    /// Text of all scripts, and of the largest.
    pub(crate) total: u64,
    pub(crate) largest: u64,
    /// Which part of the rules was really written; the figures are those of all of them.
    pub(crate) share: f64,
}

pub(crate) fn run(
    shape: Shape,
    drops: KeepDrops,
    task: Task,
    runs: usize,
    short: bool,
) -> anyhow::Result<Report> {
    match task {
        Task::Keep => ours(shape, drops, true, runs),
        Task::Drop => ours(shape, drops, false, runs),
        Task::Ancestor if short => ancestor(shape, Duration::ZERO, SHORT),
        Task::Ancestor => ancestor(shape, PATIENCE, LIMIT),
    }
}

fn ours(shape: Shape, drops: KeepDrops, keep: bool, runs: usize) -> anyhow::Result<Report> {
    let mut report = Report { objects: 0, peak: 0, seconds: 0.0, total: 0, largest: 0, share: 1.0 };
    let mut times = Vec::new();
    for run in 0..runs {
        let changes = shape.cluster().changes();
        reset_peak().context("cannot measure the peak of memory")?;
        let objects = memory(None)?.now;
        let (kept, total, largest) = (Mutex::new(Vec::new()), AtomicU64::new(0), AtomicU64::new(0));
        let made = AtomicUsize::new(0);
        let started = Instant::now();
        let translator = core::full_scripts(changes, drops, |script| {
            let length = script.bytes().len() as u64;
            made.fetch_add(1, Ordering::Relaxed);
            total.fetch_add(length, Ordering::Relaxed);
            largest.fetch_max(length, Ordering::Relaxed);
            // The hash is part of the script: it has been made.
            if keep && let Ok(mut kept) = kept.lock() {
                kept.push(script);
            }
        });
        times.push(started.elapsed().as_secs_f64());
        if let [problem, ..] = &*translator.problems() {
            bail!("{shape} is no cluster that is compiled as it says: {problem}");
        }
        drop(translator);
        // Later runs meet what the allocator kept of earlier ones.
        if run == 0 {
            let (made, nodes) = (made.into_inner(), shape.size().nodes);
            ensure!(made == nodes, "{shape} has {nodes} nodes, and {made} of them have a script");
            let (total, largest) = (total.into_inner(), largest.into_inner());
            report = Report { objects, peak: memory(None)?.peak, total, largest, ..report };
        }
    }
    Ok(Report { seconds: summary(times).median, ..report })
}

fn ancestor(shape: Shape, patience: Duration, limit: usize) -> anyhow::Result<Report> {
    let mut world = World::default();
    for change in shape.cluster().changes() {
        world.apply(change);
    }
    let objects = memory(None)?.now;
    let started = Instant::now();
    let ancestor = Ancestor::new(&world);
    let prepared = started.elapsed();
    let nodes: Vec<_> = world.node_names().into_iter().collect();
    let rules: usize = nodes.iter().map(|node| ancestor.rules(node)).sum();
    let (mut written, mut total, mut largest, mut done) = (0, 0u64, 0u64, 0usize);
    let started = Instant::now();
    for node in &nodes {
        if done > 0 && started.elapsed() > patience {
            break;
        }
        let script = ancestor.script(node, limit);
        // The ancestor hashed nothing; its text is what went over the wire.
        let length = script.text.len() as u64;
        (total, largest) = (total + length, largest.max(length));
        written += script.rules;
        done += 1;
    }
    let spent = started.elapsed().as_secs_f64();
    // Nodes differ little in rules; where none were left out, the share is exact.
    let share = if done == nodes.len() && written == rules { 1.0 } else { written as f64 / rules as f64 };
    let scale = |count: u64| (count as f64 / share) as u64;
    Ok(Report {
        objects,
        peak: memory(None)?.peak,
        seconds: prepared.as_secs_f64() + spent / share,
        total: scale(total),
        largest,
        share,
    })
}
