//! What a pod's start costs: CNI's ADD with the plugin and without it, in turns; which nodes it touches and how often it is
//! written down; what it is with two replicas; and what a compiler's own start costs where every pod was attached.
//!
//! The programs are the real ones, and so are the plugins before ours; the API server is in the process, and its writes
//! take a while.
//!
//! `deploy/bench attach [--only cost,touched,writes,replicas,start] [--seconds N] [--pods N] [--nodes N] [--runs N]
//! [--markdown]`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "made for tests: what should not happen ends a bench, too"
)]

mod cost;
mod pages;
mod replicas;
mod start;
mod starts;
mod touched;
mod writes;

#[path = "../../tests/end_to_end/api.rs"]
mod api;
#[path = "../../tests/first_packet/cluster.rs"]
#[allow(dead_code, reason = "some of it is for others")]
mod cluster;
#[path = "../../tests/end_to_end/compiler.rs"]
#[allow(dead_code, reason = "some of it is for others")]
mod compiler;
#[path = "../../tests/first_packet/rights.rs"]
#[allow(dead_code, reason = "some of it is for others")]
mod rights;
#[path = "../../tests/end_to_end/support"]
#[allow(clippy::print_stdout, dead_code, reason = "some of it is for others")]
mod support {
    pub(crate) mod process;
    pub(crate) mod programs;
    pub(crate) mod wait;
}

use std::io::Write as _;

use anyhow::bail;
use clap::{Parser, ValueEnum};
use flock_lab::Lab;
use flock_lab::cni::reference_plugins;
use flock_lab::figures::{Progress, Table, machine};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// ADD with and without the plugin.
    Cost,
    /// The nodes whose tables change when a pod starts.
    Touched,
    /// What pods that start together write.
    Writes,
    /// One compiler, and two of which each has one of two nodes.
    Replicas,
    /// The compiler's own start.
    Start,
}

/// What a pod's start costs where CNI tells of it.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench attach")]
struct Options {
    /// What to measure.
    #[arg(long, value_delimiter = ',', default_values_t = [Part::Cost, Part::Touched, Part::Writes, Part::Replicas, Part::Start])]
    only: Vec<Part>,
    /// How long pods start at each rate.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// Pods that start, where they are counted.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=200))]
    pods: u16,
    /// Nodes of the cluster that a compiler starts with; each has 30 pods.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u16).range(1..))]
    nodes: u16,
    /// Starts of a compiler whose median is shown.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Err(why) = Lab::available().and_then(|()| reference_plugins()) {
        bail!("cannot measure: {why}");
    }
    writeln!(std::io::stdout().lock(), "{}", machine())?;
    for part in &options.only {
        let mut progress = Progress::new();
        progress.say(part);
        let (title, table): (String, Table) = match part {
            Part::Cost => cost::measure(options.seconds, &mut progress)?,
            Part::Touched => touched::measure(options.pods)?,
            Part::Writes => writes::measure(options.pods)?,
            Part::Replicas => replicas::measure(options.pods)?,
            Part::Start => start::measure(options.nodes.into(), options.runs.into(), &mut progress)?,
        };
        drop(progress);
        writeln!(std::io::stdout().lock(), "\n{title}\n")?;
        table.print(options.markdown)?;
    }
    Ok(())
}
