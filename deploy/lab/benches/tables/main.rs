//! What a table costs to put in place: time and kernel memory over the number of sets, chains and elements, in one
//! transaction and in steps, while somebody listens to nf_tables news; and the heaviest table that a node may be given,
//! as its agent is sent it. What that is (`flock_nft::costs`) is chosen by it.
//!
//! `deploy/bench tables [--short] [--print] [--markdown]`

mod scripts;

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use flock_compiler_core::nft::costs::node::ADDRESS;
use flock_compiler_core::nft::costs::{Costs, Totals};
use flock_compiler_core::translate::Budgets;
use flock_compiler_core::{Translator, render};
use flock_lab::figures::{Cell, Progress, Table, bytes, machine, milliseconds};
use flock_lab::{Lab, Node};
use flock_shapes::{heavy, parts};
use flock_shared::Script;
use flock_shared::steps::{self, STEP_OBJECTS};

use scripts::{Kind, TABLE};

/// So many objects of a kind, or elements, a step has.
const STEP: usize = 5_000;
/// What the heaviest table may take.
const BAR: (f64, u64) = (2_000.0, 512_000_000);
/// So many parts of a hundred that may be there have to be in the heaviest table.
const NEARLY: u64 = 85;
/// Between two looks at the kernel's memory.
const LOOK: Duration = Duration::from_millis(5);

/// What a table costs to put in place.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench tables")]
struct Options {
    /// A hundredth of what grows, to see that it runs; the heaviest table is whole.
    #[arg(long)]
    short: bool,
    /// Print the script of the heaviest table instead.
    #[arg(long)]
    print: bool,
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
    /// The most that the kernel's own memory grew by.
    memory: u64,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let heaviest = heaviest()?;
    if options.print {
        return Ok(std::io::stdout().write_all(heaviest.script.bytes())?);
    }
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
                let steps = kind.script(count, step);
                let cost = put_in_place(&node, TABLE, &steps, listened).with_context(|| kind.to_string())?;
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
    let steps: Vec<&[u8]> = steps::of(heaviest.script.bytes()).collect();
    for listened in [false, true] {
        progress.say("the heaviest table that a node may be given");
        let cost =
            put_in_place(&node, flock_shared::TABLE, &steps, listened).context("the heaviest table")?;
        let time = milliseconds(cost.all);
        table.row([
            "the heaviest table".into(),
            heaviest.count.as_str().into(),
            if listened { "yes" } else { "no" }.into(),
            STEP_OBJECTS.to_string().into(),
            Cell::at_most(format!("{time:.0}"), time, BAR.0),
            format!("{:.0}", milliseconds(cost.longest)).into(),
            Cell::at_most(bytes(cost.memory), cost.memory as f64, BAR.1 as f64),
        ]);
    }
    drop(progress);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "A table is put in place by `nft -f -`; kernel memory is how much the kernel's own grows meanwhile"
    )?;
    writeln!(out, "{}\n", machine())?;
    drop(out);
    Ok(table.print(options.markdown)?)
}

/// A table that comes to nearly all that a node may be given.
struct Heaviest {
    script: Script,
    /// Its sets, chains, rules and elements.
    count: String,
}

/// What the compiler makes of the heaviest policies that are not too many.
fn heaviest() -> anyhow::Result<Heaviest> {
    let most = Budgets::default().node;
    let mut translator = Translator::new();
    heavy::cluster(&most).changes().into_iter().for_each(|change| _ = translator.apply(change));
    translator.pass();
    if let [problem, ..] = &*translator.problems() {
        bail!("the heaviest table is none that a node is given: {problem}");
    }
    let output = translator.output(&parts::node(0).name).context("the node has no table")?;
    let script = render(&output);
    let Totals { sets, chains, rules, elements } = Costs::default().after(script.bytes())?.totals();
    // Elements have weights, of which that of an address is the least.
    let addresses = most.elements / ADDRESS;
    for (count, most, what) in
        [(sets, most.sets, "sets"), (chains, most.chains, "chains"), (elements, addresses, "elements")]
    {
        ensure!(
            count as u64 * 100 >= most * NEARLY,
            "the heaviest table has {count} {what}, where a node may be given {most}"
        );
    }
    let count = format!("{sets} sets, {chains} chains, {rules} rules, {elements} elements");
    Ok(Heaviest { script, count })
}

/// Runs nft once per step, and removes the table again.
fn put_in_place(
    node: &Node,
    table: &str,
    steps: &[impl AsRef<[u8]>],
    listened: bool,
) -> anyhow::Result<Cost> {
    let listener = if listened { Some(Listener::start(node)?) } else { None };
    let (done, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let before = kernel_memory()?;
    let times = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if let Ok(now) = kernel_memory() {
                    most.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
                }
                std::thread::sleep(LOOK);
            }
        });
        let times: anyhow::Result<Vec<Duration>> =
            steps.iter().map(|step| apply(node, step.as_ref())).collect();
        done.store(true, Ordering::Relaxed);
        times
    })?;
    drop(listener);
    node.nft(&format!("delete table {table}\n"))?;
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

/// The bytes that the kernel has for itself, without what it gives back when asked.
fn kernel_memory() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let kilobytes = |name: &str| -> anyhow::Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let figure = line.with_context(|| format!("no {name} in /proc/meminfo"))?;
        Ok(figure.trim().trim_end_matches("kB").trim().parse()?)
    };
    Ok((kilobytes("SUnreclaim:")? + kilobytes("VmallocUsed:")? + kilobytes("Percpu:")?) << 10)
}

fn apply(node: &Node, script: &[u8]) -> anyhow::Result<Duration> {
    // A child gets the namespace of the thread that starts it.
    node.enter(|| {
        let mut command = Command::new("nft");
        command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut nft = command.spawn()?;
        if let Some(mut stdin) = nft.stdin.take() {
            stdin.write_all(script)?;
        }
        let output = nft.wait_with_output()?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", message.lines().next().unwrap_or("nft failed"));
        Ok(started.elapsed())
    })?
}
