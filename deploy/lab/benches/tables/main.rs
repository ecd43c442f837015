//! What a table costs to put in place: time and kernel memory over the number of sets, chains and elements, in one
//! transaction and in steps, while somebody listens to nf_tables news. `Budgets::node` is chosen by it.
//!
//! `deploy/bench tables [--short] [--markdown]`

mod scripts;

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use flock_lab::figures::{Progress, Table, bytes, machine, milliseconds};
use flock_lab::{Lab, Node};

use scripts::{Kind, TABLE};

/// So many objects of a kind, or elements, a step has.
const STEP: usize = 5_000;
/// Between two looks at the kernel's memory.
const LOOK: Duration = Duration::from_millis(5);

/// What a table costs to put in place.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench tables")]
struct Options {
    /// A hundredth of it, to see that it runs.
    #[arg(long)]
    short: bool,
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What some steps took.
struct Cost {
    all: Duration,
    longest: Duration,
    /// The most that the kernel's slabs grew by.
    memory: u64,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Err(why) = Lab::available() {
        bail!("cannot measure: {why}");
    }
    let lab = Lab::new("bench").context("cannot make network namespaces")?;
    let node = lab.node("node")?;
    let scale = if options.short { 100 } else { 1 };
    let mut progress = Progress::new();
    let mut table =
        Table::new(["", "count", "listened to", "steps of", "ms", "longest step", "kernel memory"]);
    for (kind, counts) in Kind::ALL {
        for count in counts.map(|count| count / scale) {
            let step = kind.step(STEP / scale);
            for (listened, step) in [(false, None), (true, None), (true, Some(step))] {
                progress.say(format_args!("{kind}: {count}"));
                let cost = put_in_place(&node, &kind.script(count, step), listened)?;
                table.row([
                    kind.to_string().into(),
                    count.to_string().into(),
                    if listened { "yes" } else { "no" }.into(),
                    step.map_or_else(|| "–".to_owned(), |step| step.to_string()).into(),
                    format!("{:.0}", milliseconds(cost.all)).into(),
                    format!("{:.0}", milliseconds(cost.longest)).into(),
                    bytes(cost.memory).into(),
                ]);
            }
        }
    }
    drop(progress);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "A table is put in place by `nft -f -`; kernel memory is how much its slabs grow meanwhile"
    )?;
    writeln!(out, "{}\n", machine())?;
    drop(out);
    Ok(table.print(options.markdown)?)
}

/// Runs nft once per step, and removes the table again.
fn put_in_place(node: &Node, steps: &[String], listened: bool) -> anyhow::Result<Cost> {
    let listener = if listened { Some(Listener::start(node)?) } else { None };
    let (done, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let before = slabs()?;
    let times = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if let Ok(now) = slabs() {
                    most.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
                }
                std::thread::sleep(LOOK);
            }
        });
        let times: anyhow::Result<Vec<Duration>> = steps.iter().map(|step| apply(node, step)).collect();
        done.store(true, Ordering::Relaxed);
        times
    })?;
    drop(listener);
    node.nft(&format!("delete table {TABLE}\n"))?;
    let longest = times.iter().max().copied().unwrap_or_default();
    Ok(Cost { all: times.iter().sum(), longest, memory: most.into_inner() })
}

/// A process that listens to nf_tables news.
struct Listener(Child);

impl Listener {
    fn start(node: &Node) -> anyhow::Result<Self> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", node.system_name(), "nft", "monitor"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // Until it has its socket.
        std::thread::sleep(Duration::from_millis(200));
        Ok(Self(child))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended by itself, which nobody minds.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The bytes in the kernel's slabs.
fn slabs() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("Slab:")).context("no slabs in /proc/meminfo")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes << 10)
}

fn apply(node: &Node, script: &str) -> anyhow::Result<Duration> {
    // A child gets the namespace of the thread that starts it.
    node.enter(|| {
        let mut command = Command::new("nft");
        command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut nft = command.spawn()?;
        if let Some(mut stdin) = nft.stdin.take() {
            stdin.write_all(script.as_bytes())?;
        }
        let output = nft.wait_with_output()?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", message.lines().next().unwrap_or("nft failed"));
        Ok(started.elapsed())
    })?
}
