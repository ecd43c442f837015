//! What changing a node's table costs: one member more through `nft -f -`, against a trivial change of the same table
//! and against replacing the table as the ancestor did. All changes are measured in turn, round after round.
//!
//! `deploy/bench nft [--rounds N] [--replacements N] [--markdown]`

#[path = "../ancestor.rs"]
mod ancestor;
mod changes;
mod tables;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use flock_lab::figures::{Cell, Progress, Summary, Table, bytes, machine, milliseconds, summary};
use flock_lab::{Lab, Node};
use flock_shared::steps;

use changes::{ChangeKind, Changes};
use tables::{NodeTable, Tables};

/// What a member more may take at most, relative to a trivial change of the same table.
const BAR: f64 = 1.5;
/// Between two changes: the kernel frees what the last one deleted.
const PAUSE: Duration = Duration::from_millis(20);

/// What changing a node's table costs.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench nft")]
struct Options {
    /// Rounds whose median is shown.
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How often the whole table is replaced.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    replacements: u16,
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Err(why) = Lab::available() {
        bail!("cannot measure: {why}");
    }
    let lab = Lab::new("bench").context("cannot make network namespaces")?;
    let node = lab.node("node")?;
    let mut progress = Progress::new();
    let mut results = Vec::new();
    for which in NodeTable::ALL {
        progress.say(format_args!("{which}: making the scripts"));
        let mut tables = Tables::of(which)?;
        results.push((which, measure(&node, &mut tables, &options, &mut progress)?, tables));
    }
    drop(progress);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "One change through `nft -f -`, from its start to its end; medians of {} rounds",
        options.rounds
    )?;
    writeln!(out, "{}", machine())?;
    writeln!(
        out,
        "A change that deletes anything ends with a wait of the kernel's (an RCU grace period, some ms),"
    )?;
    writeln!(
        out,
        "when it is in force already: compare with a trivial change that deletes, or that does not."
    )?;
    drop(out);
    for (which, figures, tables) in &results {
        print(*which, figures, tables, &options)?;
    }
    Ok(())
}

/// Milliseconds by change.
type Figures = Vec<(ChangeKind, Summary)>;

fn measure(
    node: &Node,
    tables: &mut Tables,
    options: &Options,
    progress: &mut Progress,
) -> anyhow::Result<Figures> {
    let mut samples: Vec<(ChangeKind, Vec<f64>)> = ChangeKind::ALL.map(|kind| (kind, Vec::new())).into();
    let mut replaced = |script: &str, kind: ChangeKind| -> anyhow::Result<()> {
        let taken = apply(node, script)?;
        if let Some((_, samples)) = samples.iter_mut().find(|(other, _)| *other == kind) {
            samples.push(milliseconds(taken));
        }
        Ok(())
    };
    // The ancestor's first, so that its table is not there when ours is measured.
    for round in 0..options.replacements {
        progress.say(format_args!("{}: replacing, round {round} of {}", tables.which, options.replacements));
        replaced(&tables.ancestor, ChangeKind::AncestorReplaces)?;
    }
    node.nft(&format!("delete table {}\n", ancestor::TABLE))?;
    for _ in 0..options.replacements {
        replaced(&tables.full, ChangeKind::FullScript)?;
    }
    let which = tables.which;
    let mut changes = Changes::new(tables);
    node.nft(&changes.scratch())?;
    for round in 0..=options.rounds {
        progress.say(format_args!("{which}: round {round} of {} (round 0 warms up)", options.rounds));
        for kind in ChangeKind::SMALL {
            let script = changes.next(kind).with_context(|| format!("{which}, {kind}"))?;
            std::thread::sleep(PAUSE);
            let taken = apply(node, &script).with_context(|| format!("{which}, {kind}"))?;
            if round > 0
                && let Some((_, samples)) = samples.iter_mut().find(|(other, _)| *other == kind)
            {
                samples.push(milliseconds(taken));
            }
        }
    }
    node.nft(&format!("delete table {}\n", flock_shared::TABLE))?;
    Ok(samples.into_iter().map(|(kind, samples)| (kind, summary(samples))).collect())
}

/// Runs nft once for each step, as the agent does, and how long it took from its start to its end.
fn apply(node: &Node, script: &str) -> anyhow::Result<Duration> {
    steps::of(script.as_bytes()).map(|step| transaction(node, step)).sum()
}

fn transaction(node: &Node, script: &[u8]) -> anyhow::Result<Duration> {
    // A child gets the namespace of the thread that starts it.
    node.enter(|| {
        let mut command = Command::new("nft");
        command.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut nft = command.spawn()?;
        if let Some(mut stdin) = nft.stdin.take() {
            stdin.write_all(script)?;
        }
        let output = nft.wait_with_output()?;
        let taken = started.elapsed();
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", message.lines().next().unwrap_or("nft failed"));
        Ok(taken)
    })?
}

fn print(which: NodeTable, figures: &Figures, tables: &Tables, options: &Options) -> anyhow::Result<()> {
    let median = |kind: ChangeKind| {
        figures.iter().find(|(other, _)| *other == kind).map_or(f64::NAN, |(_, summary)| summary.median)
    };
    let mut table = Table::new([
        which.to_string(),
        "ms".to_owned(),
        "p90".to_owned(),
        "/ trivial".to_owned(),
        "/ trivial that deletes".to_owned(),
    ]);
    for (kind, summary) in figures {
        let ratio = |base: ChangeKind| {
            let ratio = summary.median / median(base);
            Cell::at_most(format!("{ratio:.2}"), ratio, (kind.base() == Some(base)).then_some(BAR))
        };
        table.row([
            kind.to_string().into(),
            format!("{:.1}", summary.median).into(),
            format!("{:.1}", summary.p90).into(),
            ratio(ChangeKind::TrivialAdds),
            ratio(ChangeKind::TrivialDeletes),
        ]);
    }
    writeln!(std::io::stdout().lock())?;
    table.print(options.markdown)?;
    let (ours, ancestors) = (bytes(tables.full.len() as u64), bytes(tables.ancestor.len() as u64));
    writeln!(std::io::stdout().lock(), "Full script {ours}, the ancestor's {ancestors}.")?;
    Ok(())
}
