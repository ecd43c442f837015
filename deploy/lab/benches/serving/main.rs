//! What a compiler that serves the largest cluster takes for questions, and for checking itself: engine, mirror and gRPC
//! services on a cluster that is made in memory, agents that acknowledge, and an asker, all in this process, over loopback.
//!
//! `deploy/bench serving [--questions N] [--previews N] [--seconds N] [--turns N] [--agents N] [--only PART] [--short] [--markdown]`

mod agents;
mod churn;
mod cluster;
mod compiler;
mod explain;
mod preview;
mod self_check;

use std::io::Write as _;

use clap::{Parser, ValueEnum};
use flock_lab::figures::{Progress, bytes, machine, memory};
use flock_shapes::Shape;

use cluster::Cluster;
use compiler::Compiler;

/// What a compiler that serves the largest cluster takes for questions, and for checking itself.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench serving")]
struct Options {
    /// Questions of each kind.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    questions: u32,
    /// Previews of each kind.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    previews: u32,
    /// How long each turn with the self-check and without it takes; one with previews and without them is a third of it.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// Turns of each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    turns: u16,
    /// Nodes whose agents acknowledge what they get.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(10..))]
    agents: u16,
    /// Only this.
    #[arg(long)]
    only: Option<Part>,
    /// A cluster that is 50 times smaller, whose figures mean nothing.
    #[arg(long)]
    short: bool,
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Explain,
    Preview,
    SelfCheck,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(&options))
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let mut progress = Progress::new();
    progress.say("making the cluster");
    let cluster = Cluster::new(if options.short { 50 } else { 1 }, options.agents.into())?;
    progress.say("starting the compiler and agents");
    let mut compiler = Compiler::start(&cluster).await?;
    let resident = memory(None)?.now;
    let is_wanted = |part| options.only.is_none_or(|only| only == part);
    let mut tables = Vec::new();
    if is_wanted(Part::Explain) {
        tables.push(explain::table(&mut compiler, &cluster, options.questions, &mut progress).await?);
    }
    if is_wanted(Part::Preview) {
        tables.push(preview::table(&compiler, &cluster, options.previews, &mut progress).await?);
        let (seconds, turns) = (options.seconds.div_ceil(3), options.turns);
        tables.push(preview::events(&mut compiler, &cluster, (seconds, turns), &mut progress).await?);
    }
    if is_wanted(Part::SelfCheck) {
        let (seconds, turns) = (options.seconds, options.turns);
        tables.push(self_check::table(&compiler, &cluster, (seconds, turns), &mut progress).await?);
    }
    drop(progress);
    let mut out = std::io::stdout().lock();
    writeln!(out, "A compiler of S3 that serves: {}", Shape::S3.summary())?;
    writeln!(
        out,
        "{}; {} agents that acknowledge, in this process of {}\n",
        machine(),
        compiler.agents.count(),
        bytes(resident)
    )?;
    drop(out);
    for table in tables {
        table.print(options.markdown)?;
        writeln!(std::io::stdout())?;
    }
    Ok(())
}
