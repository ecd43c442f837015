//! From all objects in memory to the full script of every node, with its hash: time, and memory by process.
//!
//! `deploy/bench compile [--shape S1,S2,S3] [--drops on|off] [--runs N] [--markdown]`

#[path = "../ancestor.rs"]
mod ancestor;
mod child;
mod core;

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use clap::Parser;
use flock_compiler_core::KeepDrops;
use flock_lab::figures::{Cell, Progress, Table, bytes, machine, time};
use flock_shapes::Shape;

use child::{Report, Task};

/// From all objects in memory to the full script of every node, with its hash.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench compile")]
struct Options {
    /// The shapes of the cluster.
    #[arg(long, value_delimiter = ',', default_values_t = Shape::ALL)]
    shape: Vec<Shape>,
    /// Whether nodes take down what they drop, which adds to their scripts: on or off.
    #[arg(long, default_value_t)]
    drops: KeepDrops,
    /// Runs whose median is shown.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Follow the ancestor's way hardly at all: one run, to see that it runs.
    #[arg(long)]
    short: bool,
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the process that measures this.
    #[arg(long, hide = true)]
    child: Option<Task>,
}

/// What a shape should take at most: seconds, and bytes of memory at the peak.
const fn bars(shape: Shape) -> (Option<f64>, Option<f64>) {
    match shape {
        Shape::S1 => (Some(0.5), Some(250e6)),
        Shape::S2 => (Some(0.3), Some(100e6)),
        Shape::S3 => (Some(2.0), Some(600e6)),
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let (Some(task), [shape]) = (options.child, options.shape.as_slice()) {
        let report = child::run(*shape, options.drops, task, options.runs.into(), options.short)?;
        serde_json::to_writer(std::io::stdout().lock(), &report)?;
        return Ok(());
    }
    let mut table =
        Table::new(["", "time", "ratio", "peak memory", "objects alone", "scripts", "in all", "largest"]);
    let mut progress = Progress::new();
    let mut notes = Vec::new();
    for &shape in &options.shape {
        let mut measure = |task: Task| {
            progress.say(format_args!("{shape}: {task:?}"));
            measure(shape, task, &options)
        };
        let (keep, drop, ancestor) = (measure(Task::Keep)?, measure(Task::Drop)?, measure(Task::Ancestor)?);
        let limits = bars(shape);
        let mut row = |name: &str, report: &Report, limits: (Option<f64>, Option<f64>)| {
            let extrapolated = if report.share < 1.0 { "≈ " } else { "" };
            table.row([
                format!("{shape} {name}").into(),
                Cell::at_most(format!("{extrapolated}{}", time(report.seconds)), report.seconds, limits.0),
                format!("{extrapolated}{:.1}", report.seconds / keep.seconds).into(),
                Cell::at_most(bytes(report.peak), report.peak as f64, limits.1),
                bytes(report.objects).into(),
                shape.size().nodes.to_string().into(),
                format!("{extrapolated}{}", bytes(report.total)).into(),
                bytes(report.largest).into(),
            ]);
        };
        row("scripts kept", &keep, limits);
        row("scripts dropped", &drop, limits);
        row("ancestor", &ancestor, (None, None));
        notes.push(format!("{shape}: {}.", shape.summary()));
        if ancestor.share < 1.0 {
            notes.push(format!(
                "    The ancestor's way was followed for {:.2} % of its rules and extrapolated; its memory is that of the sample.",
                ancestor.share * 100.0
            ));
        }
    }
    drop(progress);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "Objects in memory → full scripts with hashes, median of {} runs, drops {}",
        options.runs, options.drops
    )?;
    writeln!(out, "{}\n", machine())?;
    drop(out);
    table.print(options.markdown)?;
    let mut out = std::io::stdout().lock();
    writeln!(out)?;
    notes.iter().try_for_each(|note| writeln!(out, "{note}"))?;
    Ok(())
}

/// Measures in a process of its own.
fn measure(shape: Shape, task: Task, options: &Options) -> anyhow::Result<Report> {
    let mut command = Command::new(std::env::current_exe()?);
    let task_name = format!("{task:?}").to_lowercase();
    command.args(["--shape", &shape.to_string(), "--drops", options.drops.as_str()]);
    command.args(["--runs", &options.runs.to_string(), "--child", &task_name]);
    if options.short {
        command.arg("--short");
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "measuring {shape} ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("the measuring process said something else")
}
