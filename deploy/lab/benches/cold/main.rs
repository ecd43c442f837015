//! The cold start of an agent on the node with the largest script of S1: from the script's arrival to the
//! acknowledgement that it is in force, against `nft -f -` of the same bytes alone.
//!
//! The agent is the real program; the compiler is one whose only word is this script.
//!
//! `deploy/bench cold [--rounds N] [--markdown]`

#[path = "../programs/mod.rs"]
mod programs;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use flock_compiler_core::{Output, Translator, render};
use flock_lab::figures::{Cell, Progress, Table, bytes, machine, milliseconds, summary};
use flock_lab::{Lab, Node};
use flock_proto::{Outcome, Update, UpdateKind};
use flock_shapes::Shape;
use flock_shared::{Revision, Script, TABLE};
use flock_testkit::compiler::BlockingCompiler;

use programs::support::process::Process;
use programs::support::programs::{AGENT, program};

/// What the agent may take at most, relative to nft alone.
const BAR: f64 = 1.5;

/// The cold start of an agent, against `nft -f -` of the same script.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench cold")]
struct Options {
    /// Rounds whose median is shown.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One cold start.
struct Start {
    /// From the agent's own start, and from the script's arrival, to its acknowledgement.
    whole: Duration,
    received: Duration,
    /// What the agent says that nft took.
    took: Duration,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Err(why) = Lab::available() {
        bail!("cannot measure: {why}");
    }
    let mut progress = Progress::new();
    progress.say("translating the cluster");
    let (revision, script) = largest()?;
    let lab = Lab::new("bench").context("cannot make network namespaces")?;
    let node = lab.node("node")?;
    let directory = tempfile::tempdir()?;
    let (mut alone, mut whole, mut received, mut took) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..=options.rounds {
        progress.say(format_args!("round {round} of {} (round 0 warms up)", options.rounds));
        let update = Update::new(revision.clone(), UpdateKind::Full(script.clone()));
        let nft = apply(&node, &script)?;
        clean(&node)?;
        let start = start(&node, update, directory.path())?;
        clean(&node)?;
        if round > 0 {
            alone.push(milliseconds(nft));
            whole.push(milliseconds(start.whole));
            received.push(milliseconds(start.received));
            took.push(milliseconds(start.took));
        }
    }
    drop(progress);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "Cold start with the largest script of S1, {}; medians of {} rounds",
        bytes(script.bytes().len() as u64),
        options.rounds
    )?;
    writeln!(out, "{}\n", machine())?;
    drop(out);
    let base = summary(alone.iter().copied()).median;
    let mut table = Table::new(["", "ms", "p90", "/ nft alone"]);
    let rows = [
        ("`nft -f -` of the script alone", alone, None),
        ("agent: script received → committed", received, Some(BAR)),
        ("… of this, nft as the agent sees it", took, None),
        ("agent: process started → committed", whole, None),
    ];
    for (name, samples, bar) in rows {
        let summary = summary(samples);
        let ratio = summary.median / base;
        table.row([
            name.into(),
            format!("{:.1}", summary.median).into(),
            format!("{:.1}", summary.p90).into(),
            Cell::at_most(format!("{ratio:.2}"), ratio, bar),
        ]);
    }
    Ok(table.print(options.markdown)?)
}

/// The largest script of S1, and the state that it reaches.
fn largest() -> anyhow::Result<(Revision, Script)> {
    let mut translator = Translator::new();
    for change in Shape::S1.cluster().changes() {
        translator.apply(change);
    }
    let scripts = translator.pass().changes.into_iter().map(|node| {
        let output: &Output = &node.after;
        (output.revision().clone(), render(output))
    });
    scripts.max_by_key(|(_, script)| script.bytes().len()).context("no nodes")
}

fn clean(node: &Node) -> anyhow::Result<()> {
    Ok(node.nft(&format!("add table {TABLE}\ndelete table {TABLE}\n"))?)
}

/// Runs nft with the script, with the same command as the agent.
fn apply(node: &Node, script: &Script) -> anyhow::Result<Duration> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", node.system_name(), "nft", "-f", "-"]).stdin(Stdio::piped());
    let started = Instant::now();
    let mut nft = command.spawn()?;
    if let Some(mut stdin) = nft.stdin.take() {
        stdin.write_all(script.bytes())?;
    }
    let status = nft.wait()?;
    let taken = started.elapsed();
    ensure!(status.success(), "nft ended with {status}");
    Ok(taken)
}

/// Starts an agent that has nothing and gives it the update.
fn start(node: &Node, update: Update, directory: &std::path::Path) -> anyhow::Result<Start> {
    let mut compiler = BlockingCompiler::start();
    let mut agent = program(AGENT);
    agent.args(["--node", "node", "--compiler", &compiler.url, "--nft", &node.nft_command()]);
    let started = Instant::now();
    let _agent = Process::start(agent, directory);
    let mut session = compiler.session();
    let sent = Instant::now();
    let ack = session.ask(update);
    let (whole, received) = (started.elapsed(), sent.elapsed());
    ensure!(ack.outcome == Outcome::Applied, "the agent answered {:?}", ack.outcome);
    Ok(Start { whole, received, took: ack.took })
}
