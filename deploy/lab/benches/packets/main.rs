//! What rules cost a packet: new TCP connections and request/response pairs per second through a node, with no
//! ruleset, one conntrack rule, ours, and the layout of the project's ancestor, for several numbers of pods, and of
//! policies that select one pod.
//!
//! Both ends and the node's forwarding run on one core, so the figure is what the whole path costs. All layouts are
//! measured in turn, round after round, and compared within a round: the machine's drift cancels out.
//!
//! `deploy/bench packets [--rounds N] [--pods N,N,…] [--policies N,N,…] [--ports same,distinct,ranges] [--script FILE] [--print]`

#[path = "../ancestor.rs"]
mod ancestor;
mod clusters;
mod layouts;
mod measure;
mod report;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Parser;
use flock_lab::figures::Progress;
use flock_lab::{Lab, Node, Pod};

use layouts::{Layout, Ports};
use measure::{Client, Server, Work};
use report::Sample;

/// The pods that the connections run between; both are isolated in both directions and allowed to talk.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 2);

/// The port at which the server closes connections, and the one at which it echoes.
pub(crate) const CLOSING_PORT: u16 = 8080;
pub(crate) const ECHO_PORT: u16 = 8081;

/// What rules cost a packet, relative to no ruleset and to one conntrack rule.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench packets")]
struct Options {
    /// Rounds whose median is shown.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Numbers of pods on the node, for ours and for the ancestor's layout; 0 for none.
    #[arg(long, value_delimiter = ',', default_value = "10,110,500,2000")]
    pods: Vec<usize>,
    /// Numbers of policies that select the server.
    #[arg(long, value_delimiter = ',', default_value = "10,10000")]
    policies: Vec<usize>,
    /// The ports of these policies.
    #[arg(long, value_delimiter = ',', default_values_t = Ports::ALL)]
    ports: Vec<Ports>,
    /// A ruleset to compare with ours: it replaces the table that the bench cleans.
    #[arg(long)]
    script: Vec<PathBuf>,
    /// Print the script of the last ruleset that was asked for instead, to start such a file from.
    #[arg(long)]
    print: bool,
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn layouts(&self) -> Vec<Layout> {
        let pods = self.pods.iter().filter(|pods| **pods > 0);
        let sized = pods.flat_map(|pods| [Layout::Ours(*pods), Layout::Ancestor(*pods)]);
        let policies = self.policies.iter().filter(|policies| **policies > 0);
        let selected = self
            .ports
            .iter()
            .flat_map(|ports| policies.clone().map(|policies| Layout::Policies(*policies, *ports)));
        let files = self.script.iter().cloned().map(Layout::File);
        [Layout::None, Layout::Conntrack].into_iter().chain(sized).chain(selected).chain(files).collect()
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.print {
        let script = options.layouts().last().map_or_else(|| Ok(String::new()), Layout::script)?;
        return Ok(std::io::stdout().write_all(script.as_bytes())?);
    }
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
    let mut client = Client::start(&client, IpAddr::V4(SERVER))?;
    let layouts = options.layouts();
    let scripts: Vec<String> = layouts.iter().map(Layout::script).collect::<anyhow::Result<_>>()?;

    let mut samples: Vec<Sample> = Vec::new();
    let mut progress = Progress::new();
    for round in 0..=usize::from(options.rounds) {
        for (layout, script) in layouts.iter().zip(&scripts) {
            progress.say(format_args!("round {round} of {} (round 0 warms up): {layout}", options.rounds));
            node.nft(&layouts::clean())?;
            node.nft(script).with_context(|| format!("nft refuses the layout {layout}"))?;
            let connections = client.measure(Work::Connections)?;
            let requests = client.measure(Work::Requests)?;
            // The first round warms caches and is not counted.
            if round > 0 {
                samples.push(Sample { layout: layout.clone(), round, connections, requests });
            }
        }
    }
    drop((server, progress));
    report::print(&layouts, &samples, options.markdown)
}

fn pod(node: &Node, name: &str, address: Ipv4Addr) -> anyhow::Result<Pod> {
    Ok(node.pod(name, &[address.into()])?)
}
