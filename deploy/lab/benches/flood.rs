//! A flood of packets that policy denies, of very many flows: what it costs the agent that tells of them, and whether
//! anything else is late.
//!
//! ```text
//! 16 addresses ─ datagrams of 1,048,576 flows, from every core ─▶ node's table ─✗ 16 isolated pods
//!                                                                  │ sets of flows, bounded
//! compiler that reads, and watches ◀─ drops ─ agent (the real program) ┘
//!          └─ a delta a second ─▶
//! ```
//!
//! `deploy/bench flood [--seconds N] [--agent PATH] [--markdown]`

#[path = "programs/mod.rs"]
mod programs;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use flock_compiler_core::nft::read::GRAMMAR;
use flock_compiler_core::object::Facts;
use flock_compiler_core::{Change, Edit, Labels, Selector, World, render, translate};
use flock_lab::figures::{
    Cell, Progress, Table, bytes, machine, memory, milliseconds, processor_time, summary,
};
use flock_lab::{Lab, Node, Pod};
use flock_proto::{DropsWanted, Outcome, Update, UpdateKind};
use flock_shapes::parts::{self, Pair};
use flock_shared::{Revision, Script, ScriptHash};
use flock_testkit::compiler::{FakeCompiler, Session};
use tokio::runtime::Runtime;

use programs::support::process::Process;
use programs::support::programs::{AGENT, program};

/// What the agent may take.
const MEMORY: u64 = 20_000_000;
/// Of one core.
const SHARE: f64 = 0.05;
/// Addresses that send, and that are sent to.
const ADDRESSES: u32 = 16;
/// Ports of each of these pairs.
const PORTS: u32 = 4096;
/// What the table is told to add once a second meanwhile.
const DELTA: Duration = Duration::from_secs(1);

/// What a flood of denied packets costs the agent.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench flood")]
struct Options {
    /// How long each row is measured, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// Another agent than the one that is built here.
    #[arg(long)]
    agent: Option<PathBuf>,
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Quiet,
    Flood,
    Watched,
}

impl Load {
    const ALL: [Self; 3] = [Self::Quiet, Self::Flood, Self::Watched];

    const fn words(self) -> &'static str {
        match self {
            Self::Quiet => "nothing is sent",
            Self::Flood => "the flood",
            Self::Watched => "the flood, and somebody watches",
        }
    }
}

/// What came of it.
struct Row {
    load: Load,
    packets: f64,
    share: f64,
    peak: u64,
    told: usize,
    acks: Vec<f64>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Err(why) = Lab::available() {
        bail!("cannot measure: {why}");
    }
    let mut progress = Progress::new();
    progress.say("starting the agent");
    let lab = Lab::new("flood").context("cannot make network namespaces")?;
    let node = lab.node("node")?;
    let all = |net: u8| -> Vec<IpAddr> { (0..ADDRESSES).map(|number| address(net, number)).collect() };
    let sender = node.pod("sender", &all(1))?;
    let _target = node.pod("target", &all(2))?;
    let folder = tempfile::tempdir()?;
    let runtime = Runtime::new()?;
    let mut compiler = runtime.block_on(FakeCompiler::start());
    let agent = agent(&node, &options, &compiler, folder.path());
    let mut session = runtime.block_on(compiler.session());
    ensure!(session.hello.drops, "this kernel or this nft takes down no drops");
    let state = runtime.block_on(enforce(&mut session))?;
    let mut node = Enforcing { session, state, deltas: 0, reading: 0 };
    let mut rows = Vec::new();
    for load in Load::ALL {
        progress.say(load.words());
        let seconds = Duration::from_secs(options.seconds.into());
        rows.push(measure(load, seconds, &sender, &agent, &runtime, &mut node)?);
    }
    drop(progress);
    print(&rows, &options)
}

/// One row.
fn measure(
    load: Load,
    time: Duration,
    sender: &Pod,
    agent: &Process,
    runtime: &Runtime,
    node: &mut Enforcing,
) -> anyhow::Result<Row> {
    let (is_over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let cores = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        let floods: Vec<_> = (0..if load == Load::Quiet { 0 } else { cores })
            .map(|number| {
                let (is_over, sent) = (&is_over, &sent);
                scope.spawn(move || sender.enter(|| flood(number, cores, is_over, sent)))
            })
            .collect();
        let (started, before) = (Instant::now(), processor_time(agent.id())?);
        let measured = runtime.block_on(node.follow(load, time));
        let (passed, taken) = (started.elapsed(), processor_time(agent.id())?.saturating_sub(before));
        let packets = sent.load(Ordering::Relaxed) as f64 / passed.as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        for flood in floods {
            flood.join().map_err(|_| anyhow::anyhow!("a sender panicked"))???;
        }
        let (told, acks) = measured?;
        let peak = memory(Some(agent.id()))?.peak;
        Ok(Row { load, packets, share: taken.as_secs_f64() / passed.as_secs_f64(), peak, told, acks })
    })
}

/// Sends until it is over, an equal part of all flows as the other threads do.
fn flood(number: usize, threads: usize, is_over: &AtomicBool, sent: &AtomicU64) -> std::io::Result<()> {
    let sockets: Vec<UdpSocket> =
        (0..ADDRESSES).map(|source| UdpSocket::bind((address(1, source), 0))).collect::<Result<_, _>>()?;
    for flow in (0..ADDRESSES * ADDRESSES * PORTS).cycle().skip(number).step_by(threads) {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let (source, target) = (flow % ADDRESSES, flow / ADDRESSES % ADDRESSES);
        let port = u16::try_from(flow / ADDRESSES / ADDRESSES).unwrap_or_default().saturating_add(1);
        if let Some(socket) = sockets.get(source as usize)
            && socket.send_to(b"?", SocketAddr::new(address(2, target), port)).is_ok()
        {
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The agent's table, as the compiler knows it.
struct Enforcing {
    session: Session,
    state: Revision,
    deltas: usize,
    reading: u32,
}

impl Enforcing {
    /// Reads what is dropped, and adds something to the table every second; how many flows were told, and how long each
    /// addition took.
    async fn follow(&mut self, load: Load, time: Duration) -> anyhow::Result<(usize, Vec<f64>)> {
        let (mut told, mut acks) = (0, Vec::new());
        let end = tokio::time::Instant::now() + time;
        let mut next = tokio::time::interval(DELTA);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return Ok((told, acks)),
                drops = self.session.drops() => told += drops.flows().len(),
                _ = next.tick() => {
                    self.reading += 1;
                    let wanted = DropsWanted { watched: load == Load::Watched, reading: self.reading };
                    let current = Update::new(self.state.clone(), UpdateKind::Current).wanting(wanted);
                    self.session.send(current.into()).await;
                    self.deltas += 1;
                    let (reached, script) = delta(&self.state, self.deltas);
                    let update = Update::new(reached.clone(), UpdateKind::Delta { base: self.state.clone(), script });
                    let began = Instant::now();
                    self.session.send(update.into()).await;
                    let ack = self.session.ack().await;
                    ensure!(ack.outcome == Outcome::Applied, "the agent answered {:?}: {}", ack.outcome, ack.error);
                    acks.push(milliseconds(began.elapsed()));
                    self.state = reached;
                }
            }
        }
    }
}

/// Has the agent enforce that nothing reaches the pods that are sent to.
async fn enforce(session: &mut Session) -> anyhow::Result<Revision> {
    let node = parts::node(0);
    let namespace = parts::namespace_name("flood");
    let pods = [1, 2].into_iter().flat_map(|net| (0..ADDRESSES).map(move |number| (net, number)));
    let pods = pods.map(|(net, number)| {
        let labels: Labels = [app(if net == 1 { "sender" } else { "target" })].into_iter().collect();
        let name = format!("pod-{net}-{number}");
        parts::pod(&namespace, &name, Some(&node), labels, address(net, number), &[])
    });
    let targets: Selector = parts::labelled([&app("target")]);
    let policy = parts::policy(&namespace, &parts::object_name("closed"), targets, Some(Vec::new()), None);
    let mut world = World::default();
    let name = node.name.clone();
    world.apply(Change::Pod(Edit::Replace(pods.collect())));
    world.apply(Change::Node(Edit::Replace(vec![node])));
    world.apply(Change::Namespace(Edit::Replace(vec![parts::namespace(namespace, [])])));
    world.apply(Change::Policy(Edit::Replace(vec![policy])));
    let facts = Facts { grammar: GRAMMAR, drops: true, ..Facts::nothing_of(name.clone()) };
    world.apply(Change::Facts(Edit::Upsert(facts)));
    let output = translate(&world).output(&name);
    let state = output.revision().clone();
    let ack = session.ask(Update::new(state.clone(), UpdateKind::Full(render(&output))).into()).await;
    ensure!(ack.outcome == Outcome::Applied, "the agent answered {:?}: {}", ack.outcome, ack.error);
    Ok(state)
}

fn app(name: &str) -> Pair {
    ("app".into(), name.into())
}

/// A set more, of one address.
fn delta(base: &Revision, number: usize) -> (Revision, Script) {
    let reached = Revision::of(ScriptHash::of(number.to_string().as_bytes()));
    let table = "inet flock_netpol";
    let script = Script::new(format!(
        "table {table} {{\n\tset pods4_{number:032x} {{\n\t\ttypeof ip saddr\n\t\telements = {{\n\t\t\t10.9.0.1\n\t\t}}\n\t}}\n}}\n\
         delete set {table} rev_{base}\nadd set {table} rev_{reached} {{ typeof ip saddr; }}\n"
    ));
    (reached, script)
}

fn address(net: u8, number: u32) -> IpAddr {
    Ipv4Addr::new(10, 201, net, u8::try_from(number + 1).unwrap_or(u8::MAX)).into()
}

fn agent(node: &Node, options: &Options, compiler: &FakeCompiler, folder: &std::path::Path) -> Process {
    let mut command = match &options.agent {
        Some(path) => Command::new(path),
        None => program(AGENT),
    };
    command.env("FLOCK_HEALTH_LISTEN", "none");
    command.args(["--node", "node-0", "--compiler", &compiler.url(), "--nft", &node.nft_command()]);
    Process::start(command, folder)
}

fn print(rows: &[Row], options: &Options) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let flows = ADDRESSES * ADDRESSES * PORTS;
    writeln!(out, "Datagrams of {flows} flows that policy denies, for {} s each", options.seconds)?;
    writeln!(out, "{}\n", machine())?;
    drop(out);
    let mut table = Table::new([
        "",
        "packets/s",
        "agent, of a core",
        "its memory, most",
        "flows told/s",
        "a delta, p50",
        "most",
    ]);
    for row in rows {
        let acks = summary(row.acks.iter().copied());
        table.row([
            row.load.words().into(),
            format!("{:.0}", row.packets).into(),
            Cell::at_most(format!("{:.1} %", row.share * 100.0), row.share, Some(SHARE)),
            Cell::at_most(bytes(row.peak), row.peak as f64, Some(MEMORY as f64)),
            format!("{:.0}", row.told as f64 / f64::from(options.seconds)).into(),
            format!("{:.1} ms", acks.median).into(),
            format!("{:.1} ms", acks.most).into(),
        ]);
    }
    Ok(table.print(options.markdown)?)
}
