//! What rules cost a packet: new TCP connections and request/response pairs per second through a node, with no
//! ruleset, one conntrack rule, ours, and the layout of the project's ancestor, for several numbers of pods, and of
//! policies that select one pod.
//!
//! Both ends and the node's forwarding run on one core, so the figure is what the whole path costs. All layouts are
//! measured in turn, round after round, and compared within a round: the machine's drift cancels out. What judges is seen
//! to judge before it is measured: what policies allow opens, and a port that they do not allow does not.
//!
//! What taking down drops costs stands in a table of its own: packets that are accepted, and datagrams that are dropped, of one
//! flow and of a flow each.
//!
//! Differences of less than a hundredth take many short rounds (`--rounds 400 --window 50`); the interval says how sure they are.
//!
//! `deploy/bench packets [--rounds N] [--window MS] [--pods N,N,…] [--policies N,N,…] [--ports same,distinct,ranges] [--bridged N,N,…]
//! [--script FILE] [--print]`

#[path = "../ancestor.rs"]
mod ancestor;
mod clusters;
mod layouts;
mod measure;
mod report;
mod stage;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use flock_lab::Lab;
use flock_lab::figures::Progress;

use layouts::{Layout, Ports, Rules, Way};
use measure::Work;
use report::Sample;
use stage::Stage;

/// The pods that the connections run between; both are isolated in both directions and allowed to talk.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 2);

/// The port at which the server closes connections, and the one at which it echoes.
pub(crate) const CLOSING_PORT: u16 = 8080;
pub(crate) const ECHO_PORT: u16 = 8081;
/// A port that no policy allows: the first range begins above it, where ports are counted up from the server's.
pub(crate) const DENIED_PORT: u16 = 7;

/// Pods on a node, the usual limit of a kubelet.
const USUAL: usize = 110;

/// What rules cost a packet, relative to no ruleset and to one conntrack rule.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench packets")]
struct Options {
    /// Rounds whose median is shown.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How long each figure is measured in each round, in milliseconds.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u16).range(10..))]
    window: u16,
    /// Numbers of pods on the node, for ours and for the ancestor's layout; 0 for none.
    #[arg(long, value_delimiter = ',', default_value = "10,110,500,2000")]
    pods: Vec<usize>,
    /// Numbers of policies that select the server.
    #[arg(long, value_delimiter = ',', default_value = "10,10000")]
    policies: Vec<usize>,
    /// The ports of these policies.
    #[arg(long, value_delimiter = ',', default_values_t = Ports::ALL)]
    ports: Vec<Ports>,
    /// Numbers of pods on the node, for ours with the two that talk on a bridge; 0 for none.
    #[arg(long, value_delimiter = ',', default_value = "110")]
    bridged: Vec<usize>,
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
        let pods = || self.pods.iter().copied().filter(|pods| *pods > 0);
        let bridged = || self.bridged.iter().copied().filter(|pods| *pods > 0);
        let policies = || self.policies.iter().copied().filter(|policies| *policies > 0);
        let selected = |ports: &Ports| policies().map(|policies| Rules::Policies(policies, *ports)).collect();
        let selected: Vec<Vec<Rules>> = self.ports.iter().map(selected).collect();
        let routed = [Rules::None, Rules::Conntrack]
            .into_iter()
            .chain(pods().flat_map(|pods| [Rules::Ours(pods), Rules::Ancestor(pods)]))
            // The usual limit of a kubelet is enough of these.
            .chain(pods().find(|pods| *pods >= USUAL).map(Rules::WithoutMidStream))
            .chain(pods().find(|pods| *pods >= USUAL).map(Rules::WithoutDrops))
            .chain(selected.into_iter().flatten())
            .chain(self.script.iter().cloned().map(Rules::File))
            .map(|rules| Layout { way: Way::Routed, rules });
        let base = bridged().next().into_iter().flat_map(|_| [Rules::None, Rules::Conntrack]);
        let of_bridged = bridged().flat_map(|pods| [Rules::Ours(pods), Rules::WithoutMidStream(pods)]);
        let bridged = base.chain(of_bridged).map(|rules| Layout { way: Way::Bridged, rules });
        routed.chain(bridged).collect()
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
    let window = Duration::from_millis(options.window.into());
    let layouts = options.layouts();
    let scripts: Vec<String> = layouts.iter().map(Layout::script).collect::<anyhow::Result<_>>()?;
    let lab = Lab::new("bench").context("cannot make network namespaces")?;
    let mut routed = Stage::routed(&lab, window)?;
    let is_bridged = layouts.iter().any(|layout| layout.way == Way::Bridged);
    let mut bridged = if is_bridged { Some(Stage::bridged(&lab, window)?) } else { None };

    let mut samples: Vec<Sample> = Vec::new();
    let mut busy: BTreeSet<usize> = BTreeSet::new();
    let mut progress = Progress::new();
    for round in 0..=usize::from(options.rounds) {
        for (layout, script) in layouts.iter().zip(&scripts) {
            progress.say(format_args!("round {round} of {} (round 0 warms up): {layout}", options.rounds));
            let stage = match (layout.way, &mut bridged) {
                (Way::Bridged, Some(bridged)) => bridged,
                _ => &mut routed,
            };
            stage
                .enforce(&layouts::clean(), script)
                .with_context(|| format!("nft refuses the layout {layout}"))?;
            let clean = layouts::clean();
            let mut measure = |work| stage.measure(work, &clean, script).with_context(|| layout.to_string());
            let figures = (measure(Work::Connections)?, measure(Work::Requests)?);
            let (Some(connections), Some(requests)) = figures else {
                busy.insert(round);
                continue;
            };
            // The first round warms caches and is not counted.
            if round > 0 {
                let mut dropped = |work| if layout.drops() { measure(work) } else { Ok(None) };
                let (dropped, scanned) = (dropped(Work::Dropped)?, dropped(Work::Scanned)?);
                samples.push(Sample {
                    layout: layout.clone(),
                    round,
                    connections,
                    requests,
                    dropped,
                    scanned,
                });
            } else if layout.judges() {
                match measure(Work::Denied)? {
                    Some(opened) => ensure!(opened == 0.0, "{layout}: port {DENIED_PORT} is not denied"),
                    None => drop(busy.insert(round)),
                }
            }
        }
    }
    drop(progress);
    // Layouts are compared within a round.
    samples.retain(|sample| !busy.contains(&sample.round));
    if !busy.is_empty() {
        let of = options.rounds;
        let count = busy.len();
        writeln!(
            std::io::stderr(),
            "this machine is busy with something else: of {of} rounds and one to warm up, {count} say nothing"
        )?;
        if samples.is_empty() {
            return Ok(());
        }
    }
    report::print(&layouts, &samples, options.markdown)
}
