//! One event in the largest cluster: from the change of an object to the deltas of all nodes that it touches.
//!
//! `deploy/bench events [--events N] [--only WORDS] [--drops on|off] [--markdown]`

#[path = "../ancestor.rs"]
mod ancestor;
mod core;

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use flock_compiler_core::{Change, KeepDrops, Translator, World};
use flock_lab::figures::{Cell, Progress, Summary, Table, bytes, machine, summary, time};
use flock_shapes::{EventKind, Events, Reach, Shape};

use ancestor::Ancestor;

/// How long the ancestor's way is followed before the rest is extrapolated.
const PATIENCE: Duration = Duration::from_secs(2);

/// One event in the largest cluster: from the change of an object to the deltas of all nodes that it touches.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench events")]
struct Options {
    /// Events of each kind and reach; each is also taken back, which counts as another.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    events: u16,
    /// Only the rows whose names contain this.
    #[arg(long, default_value = "", hide_default_value = true)]
    only: String,
    /// Whether nodes take down what they drop, which adds to their scripts: on or off.
    #[arg(long, default_value_t)]
    drops: KeepDrops,
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the events of one kind and reach came to.
#[derive(Default)]
struct Row {
    seconds: Vec<f64>,
    nodes: Vec<f64>,
    /// Nodes that were looked at, whether or not they turned out to differ.
    looked_at: Vec<f64>,
    delta: Vec<f64>,
    full: usize,
}

impl Row {
    fn add(&mut self, translator: &mut Translator, change: Change) {
        let started = Instant::now();
        let done = core::follow(translator, change);
        self.seconds.push(started.elapsed().as_secs_f64());
        self.nodes.push(done.scripts.len() as f64);
        let work = done.pass.work;
        self.looked_at.push((work.assembled + work.patched + work.members) as f64);
        let largest = done.scripts.iter().map(|script| script.bytes().len()).max();
        self.delta.push(largest.unwrap_or(0) as f64);
        self.full += done.full;
    }
}

/// What the slowest in a hundred may take, in seconds.
const fn bar(reach: Reach) -> f64 {
    match reach {
        Reach::Few => 0.001,
        Reach::All => 0.020,
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let rows = rows(&options.only)?;
    let mut progress = Progress::new();
    progress.say("the ancestor's way");
    let ancestor = ancestor_seconds();
    progress.say("translating the cluster");
    let cluster = Shape::S3.cluster();
    let events = Events::of(&cluster);
    let mut translator = core::translator(cluster.changes(), options.drops);
    if let [problem, ..] = &*translator.problems() {
        bail!("S3 is no cluster that is compiled as it says: {problem}");
    }

    let mut table = Table::new([
        "",
        "p50",
        "p99",
        "most",
        "nodes touched",
        "nodes looked at",
        "largest script",
        "full scripts",
        "events",
    ]);
    for (name, kind, reach) in rows {
        let mut row = Row::default();
        for number in 0..usize::from(options.events) {
            progress.say(format_args!("{name}: {number} of {}", options.events));
            let event = events.event(kind, reach, number).context("the shape has such objects")?;
            row.add(&mut translator, event.change);
            row.add(&mut translator, event.undo);
        }
        let (touched, all) = (summary(row.nodes.iter().copied()).least, Shape::S3.size().nodes as f64);
        let (least, of) = if reach == Reach::All { (all, "all") } else { (1.0, "some") };
        ensure!(touched >= least, "{name}: an event that concerns {of} nodes touched {touched}");
        let Summary { count, median, p99, most, .. } = summary(row.seconds);
        table.row([
            name.into(),
            time(median).into(),
            Cell::at_most(time(p99), p99, bar(reach)),
            time(most).into(),
            span(row.nodes).into(),
            span(row.looked_at).into(),
            bytes(summary(row.delta).most as u64).into(),
            row.full.to_string().into(),
            count.to_string().into(),
        ]);
    }
    drop(progress);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "One event → all deltas with hashes, drops {}. S3: {}",
        options.drops,
        Shape::S3.summary()
    )?;
    writeln!(out, "{}\n", machine())?;
    drop(out);
    table.print(options.markdown)?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\nThe ancestor writes every table anew: ≈ {} (extrapolated from {})",
        time(ancestor),
        time(PATIENCE.as_secs_f64())
    )?;
    Ok(())
}

/// The rows whose names contain this.
fn rows(only: &str) -> anyhow::Result<Vec<(String, EventKind, Reach)>> {
    let all = Reach::ALL.into_iter().flat_map(|reach| EventKind::ALL.map(|kind| (kind, reach)));
    let named = all.map(|(kind, reach)| (format!("{kind}, {reach}"), kind, reach));
    let (found, others): (Vec<_>, Vec<_>) = named.partition(|(name, ..)| name.contains(only));
    let names = || others.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>().join("; ");
    ensure!(!found.is_empty(), "--only {only:?}: expected words of one of: {}", names());
    Ok(found)
}

/// The smallest and the largest, if they differ.
fn span(values: Vec<f64>) -> String {
    let Summary { least, most, .. } = summary(values);
    if least < most { format!("{least:.0}–{most:.0}") } else { format!("{most:.0}") }
}

/// Seconds that the ancestor takes for the tables of all nodes.
fn ancestor_seconds() -> f64 {
    let mut world = World::default();
    for change in Shape::S3.cluster().changes() {
        world.apply(change);
    }
    let ancestor = Ancestor::new(&world);
    let nodes: Vec<_> = world.node_names().into_iter().collect();
    let rules: usize = nodes.iter().map(|node| ancestor.rules(node)).sum();
    let (started, mut written) = (Instant::now(), 0);
    for node in nodes {
        if started.elapsed() > PATIENCE {
            break;
        }
        written += ancestor.script(node, usize::MAX).rules;
    }
    started.elapsed().as_secs_f64() * rules as f64 / written.max(1) as f64
}
