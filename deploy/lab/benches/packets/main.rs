//! What rules cost a packet: new TCP connections and request/response pairs per second through a node, with no
//! ruleset, one conntrack rule, ours, and the layout of the project's ancestor, for several numbers of pods.
//!
//! Both ends and the node's forwarding run on one core, so the figure is what the whole path costs. All layouts are
//! measured in turn, round after round, and compared within a round: the machine's drift cancels out.
//!
//! `deploy/bench packets [--rounds N] [--pods N,N,…] [--script FILE] [--print N]`

mod layouts;
mod measure;
mod report;

use std::io::{IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use flock_lab::{Lab, Node, Pod};

use layouts::Layout;
use measure::{Client, Server, Work};
use report::Sample;

/// The pods that the connections run between; both are isolated in both directions and allowed to talk.
pub(crate) const CLIENT: &str = "10.200.0.1";
pub(crate) const SERVER: &str = "10.200.0.2";

/// The port at which the server closes connections, and the one at which it echoes.
pub(crate) const CLOSING_PORT: u16 = 8080;
pub(crate) const ECHO_PORT: u16 = 8081;

struct Options {
    rounds: usize,
    pods: Vec<usize>,
    scripts: Vec<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let options = options(std::env::args().skip(1))?;
    if let Err(why) = Lab::available() {
        bail!("cannot measure: {why}");
    }
    let lab = Lab::new("bench").context("cannot make network namespaces")?;
    let node = lab.node("node")?;
    let [client, server] =
        [("client", CLIENT), ("server", SERVER)].map(|(name, address)| pod(&node, name, address));
    let (client, server) = (client?, server?);
    // Closed connections are forgotten at once, so that every round meets an equally small table.
    node.run("sysctl", &["-q", "-w", "net.netfilter.nf_conntrack_tcp_timeout_close=1"], "").ok();

    let server = Server::start(&server)?;
    let mut client = Client::start(&client, SERVER.parse()?)?;
    let mut layouts = Layout::all(&options.pods);
    layouts.extend(options.scripts.iter().cloned().map(Layout::File));
    let scripts: Vec<String> = layouts.iter().map(Layout::script).collect::<anyhow::Result<_>>()?;

    let mut samples: Vec<Sample> = Vec::new();
    for round in 0..=options.rounds {
        progress(round, options.rounds);
        for (layout, script) in layouts.iter().zip(&scripts) {
            node.nft(layouts::CLEAN)?;
            node.nft(script).with_context(|| format!("nft refuses the layout {layout}"))?;
            let connections = client.measure(Work::Connections)?;
            let requests = client.measure(Work::Requests)?;
            // The first round warms caches and is not counted.
            if round > 0 {
                samples.push(Sample { layout: layout.clone(), round, connections, requests });
            }
        }
    }
    drop(server);
    report::print(&layouts, &samples)
}

fn pod(node: &Node, name: &str, address: &str) -> anyhow::Result<Pod> {
    let address: IpAddr = address.parse()?;
    Ok(node.pod(name, &[address])?)
}

fn progress(round: usize, rounds: usize) {
    let mut err = std::io::stderr().lock();
    if err.is_terminal() {
        // A progress line that cannot be written is not missed.
        let _ = write!(err, "\r\x1b[2Kmeasuring: round {round} of {rounds} (round 0 warms up)");
        let _ = if round == rounds { writeln!(err) } else { err.flush() };
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Options> {
    let mut options = Options { rounds: 15, pods: vec![10, 110, 500, 2000], scripts: Vec::new() };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What `cargo bench` passes.
            "--bench" => {}
            "--rounds" => {
                options.rounds = arguments.next().context("--rounds N")?.parse().context("--rounds N")?;
            }
            "--pods" => {
                let list = arguments.next().context("--pods N,N,…")?;
                options.pods =
                    list.split(',').map(str::parse).collect::<Result<_, _>>().context("--pods N,N,…")?;
            }
            // A ruleset to compare with ours: it replaces the tables that the bench cleans.
            "--script" => options.scripts.push(arguments.next().context("--script FILE")?.into()),
            // Our script for so many pods, to start such a file from.
            "--print" => {
                let pods = arguments.next().context("--print N")?.parse().context("--print N")?;
                std::io::stdout().write_all(Layout::Ours(pods).script()?.as_bytes())?;
                std::process::exit(0);
            }
            other => bail!(
                "unknown argument {other}: expected --rounds N, --pods N,N,…, --script FILE or --print N"
            ),
        }
    }
    if options.rounds == 0 || options.pods.is_empty() || options.pods.iter().any(|pods| *pods < 2) {
        bail!("at least one round and two pods");
    }
    Ok(options)
}
