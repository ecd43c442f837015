//! What questions cost in the largest cluster: verdicts in bulk, and answers.
//!
//! `deploy/bench ask [--questions N] [--verdicts THOUSANDS] [--markdown]`

mod preview;
mod reach;

use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Parser;
use flock_ask::{Cluster, Sight, explain};
use flock_compiler_core::judge::{Carries, Flow, Index, Judge};
use flock_compiler_core::object::Pod;
use flock_compiler_core::port::Protocol;
use flock_compiler_core::{UnreadyPods, World};
use flock_lab::figures::{Cell, Progress, Table, machine, summary, time};
use flock_proto::v1;
use flock_shapes::Shape;

/// What questions cost in the largest cluster.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench ask")]
struct Options {
    /// Questions of each kind.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    questions: u32,
    /// Verdicts of each kind, in thousands.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    verdicts: u32,
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Verdicts that a core gives in a second at least.
const VERDICTS: f64 = 100_000.0;
/// What an explanation may take, in seconds.
const EXPLAIN: f64 = 0.020;
/// Ports that S3's policies and pods name, and one that they do not.
const PORTS: [u16; 5] = [80, 443, 5432, 8080, 9999];

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut progress = Progress::new();
    progress.say("making the cluster");
    let mut world = World::default();
    for change in Shape::S3.cluster().changes() {
        world.apply(change);
    }
    let started = Instant::now();
    let index = Index::new(&world);
    let indexing = started.elapsed().as_secs_f64();
    let judge = Judge::with_index(&world, UnreadyPods::Expected, &index);

    let mut verdicts = Table::new(["", "verdicts a second", "pass", "verdicts"]);
    progress.say("flows");
    let pairs = Pairs::of(&world);
    for (name, within) in [("pods of one namespace", true), ("any pods", false)] {
        let flows = pairs.flows(&judge, within);
        progress.say(format_args!("verdicts: {name}"));
        let count = options.verdicts as usize * 1000;
        verdicts.row(row(&format!("{name}, reasons"), &flows, count, |flow| judge.judge(flow).passes()));
        verdicts.row(row(&format!("{name}, yes or no"), &flows, count, |flow| judge.passes(flow)));
    }

    let mut answers = Table::new(["", "p50", "p99", "most", "questions"]);
    let with_index = Cluster { index: Some(&index), ..Cluster::new(&world, UnreadyPods::Expected) };
    let without = Cluster::new(&world, UnreadyPods::Expected);
    let ten = options.questions.div_ceil(10);
    for (name, cluster, within, count) in [
        ("explain, pods of one namespace", &with_index, true, options.questions),
        ("explain, any pods", &with_index, false, options.questions),
        ("explain, any pods, without an index", &without, false, ten),
    ] {
        progress.say(name);
        let mut seconds = Vec::new();
        for number in 0..count as usize {
            let [from, to] = pairs.pair(number, within).context("S3 has pods")?;
            let request = v1::ExplainRequest { from: Some(end(from)), to: Some(end(to)), port: port(number) };
            let started = Instant::now();
            let answer = explain(cluster, &request, &Sight::Everything)?;
            seconds.push(started.elapsed().as_secs_f64());
            ensure!(!answer.explanations.is_empty(), "{from:?} to {to:?} has no answer");
        }
        let all = summary(seconds);
        let bar = cluster.index.map(|_| EXPLAIN);
        answers.row([
            name.into(),
            time(all.median).into(),
            Cell::at_most(time(all.p99), all.p99, bar),
            time(all.most).into(),
            all.count.to_string().into(),
        ]);
    }
    progress.say("reach and matrix");
    reach::rows(&with_index, options.questions.div_ceil(10) as usize, &mut answers)?;
    let previews = preview::rows(&world, &mut progress, options.questions.div_ceil(100))?;
    drop(progress);
    let mut out = std::io::stdout().lock();
    writeln!(out, "Questions of S3: {}", Shape::S3.summary())?;
    writeln!(out, "{}; the index is made in {}\n", machine(), time(indexing))?;
    drop(out);
    verdicts.print(options.markdown)?;
    writeln!(std::io::stdout())?;
    answers.print(options.markdown)?;
    writeln!(std::io::stdout())?;
    previews.print(options.markdown)?;
    Ok(())
}

/// So many verdicts, and how fast they were given.
fn row(name: &str, flows: &[Flow], count: usize, verdict: impl Fn(&Flow) -> bool) -> [Cell; 4] {
    let started = Instant::now();
    let passed = flows.iter().cycle().take(count).filter(|flow| black_box(verdict(flow))).count();
    let seconds = started.elapsed().as_secs_f64();
    // Two directions are judged for each flow.
    let rate = count as f64 / seconds;
    [
        name.into(),
        Cell::at_most(format!("{rate:.0}"), -rate, -VERDICTS),
        format!("{:.0} %", 100.0 * passed as f64 / count as f64).into(),
        count.to_string().into(),
    ]
}

/// Pods to ask about, always the same ones.
struct Pairs<'w> {
    pods: Vec<&'w Arc<Pod>>,
}

impl<'w> Pairs<'w> {
    fn of(world: &'w World) -> Self {
        Self { pods: world.pods().values().collect() }
    }

    /// Two pods; neighbours by name are of one namespace, mostly.
    fn pair(&self, number: usize, within: bool) -> Option<[&'w Arc<Pod>; 2]> {
        let count = self.pods.len();
        // Both have no factor in common with any number of pods that is not a multiple of them.
        let first = number * 7919 % count;
        let second = if within { first + 1 + number % 4 } else { number * 104_729 + 1 } % count;
        Some([*self.pods.get(first)?, *self.pods.get(second)?])
    }

    fn flows(&self, judge: &Judge<'_>, within: bool) -> Vec<Flow> {
        let pairs = (0..100_000).filter_map(|number| Some((number, self.pair(number, within)?)));
        let flow = |(number, [from, to]): (usize, [&Arc<Pod>; 2])| {
            let number = PORTS.get(number % PORTS.len())?;
            Some(Flow {
                source: judge.places_of_pod(from).into_iter().next()?,
                destination: judge.places_of_pod(to).into_iter().next()?,
                carries: Carries::Port(Protocol::Tcp, *number),
            })
        };
        pairs.filter_map(flow).collect()
    }
}

fn end(pod: &Pod) -> v1::End {
    let (namespace, name) = (pod.key.namespace.to_string(), pod.key.name.to_string());
    v1::End { end: Some(v1::end::End::Pod(v1::PodName { namespace, name })) }
}

fn port(number: usize) -> Option<v1::Port> {
    let number = PORTS.get(number % PORTS.len()).copied().unwrap_or(80);
    Some(v1::Port { protocol: "TCP".to_owned(), number: number.into() })
}
