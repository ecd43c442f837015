//! Churn on one node, with everything real but the API server: from the change of an object there to the commit of
//! the node's table, as the kernel announces it. 20 pods a second come or go, 10 policies a second change.
//!
//! `deploy/bench churn [--seconds N] [--markdown]`

mod kernel;
mod objects;
#[path = "../programs/mod.rs"]
mod programs;

use std::io::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use flock_lab::Lab;
use flock_lab::figures::{Cell, Progress, Summary, Table, machine, milliseconds, summary};
use flock_testkit::{ApiServer, NETWORK_POLICY, POD, Status};
use serde_json::Value;

use kernel::{Kernel, Sign};
use programs::support::process::Process;
use programs::support::programs::{AGENT, COMPILER, program};

/// Events in a second: two pods for each policy.
const RATE: u32 = 30;
/// How long a change may stay without effect before the bench gives up, far beyond any bar.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long each pod stays, in events that concern pods.
const STAYS: u32 = 20;
/// What half of the changes, and 99 of 100, may take at most, in milliseconds.
const BARS: (f64, f64) = (15.0, 50.0);

/// Churn on one node: object changed → nft committed.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench churn")]
struct Options {
    /// How long it goes on.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    PodAdded,
    PodDeleted,
    PolicyChanged,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Err(why) = Lab::available() {
        bail!("cannot measure: {why}");
    }
    let mut progress = Progress::new();
    let lab = Lab::new("bench").context("cannot make network namespaces")?;
    let node = lab.node("node")?;
    let kernel = Kernel::listen(&node)?;
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // The server's end is a task's, too.
    let _entered = runtime.enter();
    let server = runtime.block_on(ApiServer::start())?;
    for (kind, object) in objects::all() {
        put(&server, kind, object)?;
    }
    kernel.expect(Sign::Added(objects::first_address(0)));
    let kubeconfig = server.write_kubeconfig(directory.path())?;
    let mut compiler = program(COMPILER);
    compiler.arg("serve").arg("--kubeconfig").arg(&kubeconfig);
    compiler.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let mut compiler = Process::start(compiler, directory.path());
    let line = compiler.line(" listening ");
    let address = line.split_whitespace().find_map(|field| field.strip_prefix("listen="));
    let url = format!("http://{}", address.context("the compiler does not say where it listens")?);
    let mut agent = program(AGENT);
    agent.args(["--node", objects::NODE_NAME, "--compiler", &url, "--nft", &node.nft_command()]);
    let _agent = Process::start(agent, directory.path());
    settle(&kernel).context("the first table")?;

    let mut signs: Vec<(Kind, Sign)> = Vec::new();
    let (mut pods, mut policies) = (0, 0);
    let started = Instant::now();
    for event in 0..u32::from(options.seconds) * RATE {
        let due = started + Duration::from_secs(1) * event / RATE;
        sleep(due.saturating_duration_since(Instant::now()));
        if event.is_multiple_of(RATE) {
            progress.say(format_args!("{} of {} s", event / RATE, options.seconds));
        }
        let mut expect = |kind: Kind, sign: Sign| {
            kernel.expect(sign);
            signs.push((kind, sign));
        };
        match event % 3 {
            2 => {
                let from = objects::outside(objects::CHANGING + policies);
                expect(Kind::PolicyChanged, Sign::Added(from));
                put(&server, NETWORK_POLICY, objects::office(policies % objects::CHANGING, from))?;
                policies += 1;
            }
            // A pod comes; or one that came some time ago goes.
            _ if pods % 2 == 0 || pods / 2 < STAYS => {
                let number = if pods / 2 < STAYS { pods } else { STAYS + pods / 2 };
                expect(Kind::PodAdded, Sign::Added(objects::later_address(number)));
                put(&server, POD, objects::later_pod(number))?;
                pods += 1;
            }
            _ => {
                let number = pods / 2 - STAYS;
                let (namespace, name) = objects::later(number);
                expect(Kind::PodDeleted, Sign::Deleted(objects::later_address(number)));
                server.store().remove(POD, &namespace, &name).map_err(|status| refused(&status))?;
                pods += 1;
            }
        }
    }
    settle(&kernel)?;
    drop(progress);

    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "Churn on one node: object changed → nft committed, {} s of 20 pods and 10 policies a second",
        options.seconds
    )?;
    writeln!(out, "{}", machine())?;
    writeln!(
        out,
        "1,000 pods, 110 of them on the node, 20 namespaces, 60 policies; API server in the process of the bench.\n"
    )?;
    drop(out);
    let mut table = Table::new(["ms", "p50", "p90", "p99", "most", "changes"]);
    let mut row = |name: &str, kinds: &[Kind], bars: (Option<f64>, Option<f64>)| {
        let chosen = signs.iter().filter(|(kind, _)| kinds.contains(kind));
        let samples = chosen.filter_map(|(_, sign)| kernel.took(*sign)).map(milliseconds);
        let Summary { count, median, p90, p99, most, .. } = summary(samples);
        table.row([
            name.into(),
            Cell::at_most(format!("{median:.1}"), median, bars.0),
            format!("{p90:.1}").into(),
            Cell::at_most(format!("{p99:.1}"), p99, bars.1),
            format!("{most:.1}").into(),
            count.to_string().into(),
        ]);
    };
    row("pod added", &[Kind::PodAdded], (None, None));
    row("pod deleted", &[Kind::PodDeleted], (None, None));
    row("policy changed", &[Kind::PolicyChanged], (None, None));
    row("all", &[Kind::PodAdded, Kind::PodDeleted, Kind::PolicyChanged], (Some(BARS.0), Some(BARS.1)));
    Ok(table.print(options.markdown)?)
}

fn put(server: &ApiServer, kind: flock_testkit::Kind, object: Value) -> anyhow::Result<()> {
    server.store().put(kind, object).map(drop).map_err(|status| refused(&status))
}

fn refused(status: &Status) -> anyhow::Error {
    anyhow::anyhow!("the API server refuses an object: {status:?}")
}

/// Waits until everything that was expected has come.
fn settle(kernel: &Kernel) -> anyhow::Result<()> {
    let started = Instant::now();
    while kernel.outstanding()? > 0 {
        ensure!(started.elapsed() < PATIENCE, "{} changes never came into force", kernel.outstanding()?);
        sleep(Duration::from_millis(5));
    }
    Ok(())
}
