//! What thousands of agents cost the compiler: 5,000 simulated ones over loopback, real gRPC, a connection each; the
//! compiler in a process of its own, so that its memory and time on a core are told apart from the agents'.
//!
//! `deploy/bench fleet`: one change that reaches every node, until the last acknowledgement.
//! `deploy/bench reconnect`: the compiler restarts and every agent comes back with the revision it has.
//! Options: `[--agents N] [--pods N] [--changes N]`.

mod agent;
mod agents;
mod clock;
mod cluster;
mod compiler;
mod report;
mod usage;

use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use agent::{Kind, Manner};
use agents::Agents;
use cluster::Shape;
use compiler::Compiler;
use report::{Fleet, Reconnect};
use usage::Usage;

/// How long nothing is measured after the fleet has connected, so that it is at rest.
const REST: Duration = Duration::from_secs(2);

struct Options {
    shape: Shape,
    changes: usize,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let table = arguments.next().context("expected fleet or reconnect")?;
    // Both processes need a descriptor for each agent.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    if table == "serve" {
        return compiler::serve(arguments);
    }
    let options = options(arguments)?;
    if most < options.shape.nodes as u64 + 100 {
        bail!("the limit of open files is {most}: raise it (ulimit -n), or give --agents N");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match table.as_str() {
            "fleet" => {
                let calm = fleet(&options, Manner::Answers).await?;
                let stalled = fleet(&options, Manner::Stalls).await?;
                report::fleet(options.shape, &calm, &stalled)
            }
            "reconnect" => report::reconnect(options.shape, &reconnect(&options).await?),
            other => bail!("unknown table {other}: expected fleet or reconnect"),
        }
    })
}

fn options(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Options> {
    let mut options = Options { shape: Shape { nodes: 5000, pods: 2 }, changes: 20 };
    while let Some(argument) = arguments.next() {
        let option = match argument.as_str() {
            // What `cargo bench` passes.
            "--bench" => continue,
            "--agents" => &mut options.shape.nodes,
            "--pods" => &mut options.shape.pods,
            "--changes" => &mut options.changes,
            other => bail!("unknown argument {other}: expected --agents N, --pods N or --changes N"),
        };
        *option = arguments
            .next()
            .and_then(|number| number.parse().ok())
            .with_context(|| format!("{argument} N"))?;
        if *option == 0 {
            bail!("{argument} 0 measures nothing");
        }
    }
    Ok(options)
}

/// A compiler and a fleet that is at rest, the first agent in its own manner; how many answer.
async fn connected(shape: Shape, first: Manner) -> anyhow::Result<(Compiler, Agents, usize, Usage)> {
    let mut compiler = Compiler::start(shape, 0)?;
    compiler.ready()?;
    let alone = compiler.usage()?;
    let mut agents = Agents::new();
    for number in 0..shape.nodes {
        agents.start(compiler.address, if number == 0 { first } else { Manner::Answers })?;
    }
    let answering = if first == Manner::Answers { shape.nodes } else { shape.nodes - 1 };
    agents.verified(answering).await?;
    tokio::time::sleep(REST).await;
    Ok((compiler, agents, answering, alone))
}

async fn fleet(options: &Options, first: Manner) -> anyhow::Result<Fleet> {
    let (mut compiler, mut agents, answering, alone) = connected(options.shape, first).await?;
    let at_rest = compiler.usage()?;
    let mut measured = Fleet { alone, at_rest, ..Fleet::new(at_rest) };
    for change in 0..=options.changes {
        let (theirs, ours) = (compiler.usage()?, Usage::of(std::process::id())?);
        let made = tokio::task::block_in_place(|| compiler.change(answering))?;
        let verified = agents.verified(answering).await?;
        // The first change warms both processes.
        if change == 0 {
            continue;
        }
        measured.last.push(made.acknowledged.saturating_sub(made.made));
        measured.each.extend(verified.iter().map(|verified| verified.at.saturating_sub(made.made)));
        measured.deltas += verified.iter().filter(|verified| verified.kind == Kind::Delta).count();
        measured.compiler_cpu.push(compiler.usage()? - theirs);
        measured.agents_cpu.push(Usage::of(std::process::id())? - ours);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    measured.after = compiler.usage()?;
    Ok(measured)
}

async fn reconnect(options: &Options) -> anyhow::Result<Reconnect> {
    let (compiler, mut agents, answering, _) = connected(options.shape, Manner::Answers).await?;
    let port = compiler.address.port();
    drop(compiler);
    let ours = Usage::of(std::process::id())?;
    let started = clock::now();
    let mut compiler = Compiler::start(options.shape, port)?;
    let ready = tokio::task::block_in_place(|| compiler.ready())?;
    let verified = agents.verified(answering).await?;
    let last = verified.iter().map(|verified| verified.at).max().unwrap_or_default();
    let theirs = compiler.usage()?;
    // The last acknowledgements are on their way.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(Reconnect {
        ready: ready.saturating_sub(started),
        last: last.saturating_sub(started),
        current: verified.iter().filter(|verified| verified.kind == Kind::Current).count(),
        bytes: agents.bytes(),
        compiler: theirs,
        agents_cpu: Usage::of(std::process::id())? - ours,
    })
}
