//! What thousands of agents cost the compiler: 5,000 simulated ones over loopback, real gRPC, a connection each; the
//! compiler in a process of its own, so that its memory and time on a core are told apart from the agents'.
//!
//! `deploy/bench fleet`: one change that reaches every node, until the last acknowledgement.
//! `deploy/bench reconnect`: the compiler restarts and every agent comes back with the revision it has.
//! Options: `[--agents N] [--pods N] [--changes N] [--rest SECONDS] [--keepalive kernel|ping|never] [--tls]`; with `--tls`
//! connections are secured and each agent shows a token, which an API server takes 5 ms to review.

mod agent;
mod agents;
mod clock;
mod cluster;
mod compiler;
mod report;
mod secured;
mod usage;

use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use agent::{Keepalive, Kind, Manner};
use agents::Agents;
use cluster::Shape;
use compiler::Compiler;
use report::{Fleet, Reconnect};
use secured::Cluster;
use usage::Usage;

/// How long nothing is measured after the fleet has connected, so that it is at rest.
const REST: Duration = Duration::from_secs(2);

struct Options {
    shape: Shape,
    changes: usize,
    /// How long the fleet is looked at while nothing happens.
    rest: Duration,
    keepalive: Keepalive,
    is_secured: bool,
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
    let cluster = options.is_secured.then(|| Cluster::start(options.shape.nodes)).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ground = Ground { options: &options, cluster: cluster.as_ref() };
    runtime.block_on(async {
        match table.as_str() {
            "fleet" => {
                let calm = fleet(&ground, Manner::Answers).await?;
                let stalled = fleet(&ground, Manner::Stalls).await?;
                report::fleet(options.shape, options.is_secured, &calm, &stalled)
            }
            "reconnect" => report::reconnect(options.shape, options.is_secured, &reconnect(&ground).await?),
            other => bail!("unknown table {other}: expected fleet or reconnect"),
        }
    })
}

fn options(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Options> {
    let mut options = Options {
        shape: Shape { nodes: 5000, pods: 2 },
        changes: 20,
        rest: Duration::from_secs(10),
        keepalive: Keepalive::Kernel,
        is_secured: false,
    };
    while let Some(argument) = arguments.next() {
        let mut number = || -> anyhow::Result<usize> {
            match arguments.next().and_then(|number| number.parse().ok()) {
                None => bail!("{argument} N"),
                Some(0) => bail!("{argument} 0 measures nothing"),
                Some(number) => Ok(number),
            }
        };
        match argument.as_str() {
            // What `cargo bench` passes.
            "--bench" => {}
            "--agents" => options.shape.nodes = number()?,
            "--pods" => options.shape.pods = number()?,
            "--changes" => options.changes = number()?,
            "--rest" => options.rest = Duration::from_secs(number()? as u64),
            "--tls" => options.is_secured = true,
            "--keepalive" => {
                options.keepalive = match arguments.next().as_deref() {
                    Some("kernel") => Keepalive::Kernel,
                    Some("ping") => Keepalive::Ping,
                    Some("never") => Keepalive::Never,
                    _ => bail!("--keepalive kernel|ping|never"),
                }
            }
            other => bail!(
                "unknown argument {other}: expected --agents N, --pods N, --changes N, --rest N, --keepalive WAY or --tls"
            ),
        }
    }
    Ok(options)
}

/// What all runs have in common.
struct Ground<'a> {
    options: &'a Options,
    /// Where connections are secured.
    cluster: Option<&'a Cluster>,
}

impl Ground<'_> {
    fn compiler(&self, port: u16) -> anyhow::Result<Compiler> {
        let kubeconfig = self.cluster.map(Cluster::kubeconfig);
        Compiler::start(self.options.shape, port, kubeconfig.as_deref())
    }
}

/// A compiler and a fleet that is at rest, the first agent in its own manner; how many answer.
async fn connected(ground: &Ground<'_>, first: Manner) -> anyhow::Result<(Compiler, Agents, usize, Usage)> {
    let Options { shape, keepalive, .. } = *ground.options;
    let mut compiler = ground.compiler(0)?;
    compiler.ready()?;
    let alone = compiler.usage()?;
    let mut agents = Agents::new();
    let tls = ground.cluster.map(|cluster| anyhow::Ok((cluster, cluster.connector()?))).transpose()?;
    for number in 0..shape.nodes {
        let manner = if number == 0 { first } else { Manner::Answers };
        agents.start(
            compiler.address,
            manner,
            keepalive,
            tls.as_ref().map(|(cluster, tls)| (*cluster, tls)),
        )?;
    }
    let answering = if first == Manner::Answers { shape.nodes } else { shape.nodes - 1 };
    agents.changed(answering, Duration::ZERO).await?;
    tokio::time::sleep(REST).await;
    Ok((compiler, agents, answering, alone))
}

async fn fleet(ground: &Ground<'_>, first: Manner) -> anyhow::Result<Fleet> {
    let options = ground.options;
    let (mut compiler, mut agents, answering, alone) = connected(ground, first).await?;
    let (theirs, all) = (compiler.usage()?, usage::of_machine()?);
    tokio::time::sleep(options.rest).await;
    let at_rest = compiler.usage()?;
    let share = |used: Duration| used.as_secs_f64() / options.rest.as_secs_f64();
    let resting = (share(at_rest - theirs), share(usage::of_machine()?.saturating_sub(all)));
    let mut measured = Fleet { alone, at_rest, resting, ..Fleet::new(at_rest) };
    for change in 0..=options.changes {
        let (theirs, ours) = (compiler.usage()?, Usage::of(std::process::id())?);
        let made = tokio::task::block_in_place(|| compiler.change(answering))?;
        let verified = agents.changed(answering, made.made).await?;
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

async fn reconnect(ground: &Ground<'_>) -> anyhow::Result<Reconnect> {
    let (compiler, mut agents, answering, _) = connected(ground, Manner::Answers).await?;
    let port = compiler.address.port();
    drop(compiler);
    let ours = Usage::of(std::process::id())?;
    let started = clock::now();
    let mut compiler = ground.compiler(port)?;
    let ready = tokio::task::block_in_place(|| compiler.ready())?;
    // What the earlier compiler sent last may still wait to be counted.
    let verified = agents.verified(answering, started).await?;
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
