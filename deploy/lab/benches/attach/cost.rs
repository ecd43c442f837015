//! ADD with the plugin and without it, in turns, at several rates.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use flock_lab::Sandbox;
use flock_lab::cni::Runtime;
use flock_lab::figures::{Cell, Progress, Summary, Table, milliseconds, summary};

use crate::cluster::{Cluster, Pool};
use crate::rights::Role;
use crate::starts;

/// Aims at ten a second, in milliseconds.
const AIMS: (f64, f64) = (25.0, 100.0);
/// How long a pod lives.
const LIFE: Duration = Duration::from_millis(200);
/// Pods of the real chain.
const POOL: Pool = Pool { name: "pods", first: 20, last: 219 };

/// What is before the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Real,
    /// Two cores cannot start real chains at such a rate.
    Said,
}

/// In milliseconds.
#[derive(Default)]
struct Samples {
    /// The chain without the plugin, with it, and the plugin alone.
    without: Vec<f64>,
    with: Vec<f64>,
    own: Vec<f64>,
}

pub(crate) fn measure(seconds: u16, progress: &mut Progress) -> anyhow::Result<(String, Table)> {
    let cluster = starts::cluster("bench-attach", 2, 1)?;
    let _server = starts::server(&cluster)?;
    let mut table = Table::new([
        "before flock-cni",
        "ADDs a second",
        "ADDs",
        "without, p50",
        "p99",
        "with, p50",
        "p99",
        "flock-cni, p50",
        "p99",
    ]);
    let mut number = 0;
    for (before, rate) in
        [(Before::Real, 1), (Before::Real, 10), (Before::Said, 1), (Before::Said, 10), (Before::Said, 100)]
    {
        progress.say(format_args!("{before:?}, {rate} a second"));
        let samples = run(&cluster, before, rate, u32::from(seconds) * rate, &mut number)?;
        let [without, with, own] = [samples.without, samples.with, samples.own].map(summary);
        let aims = (rate == 10).then_some(AIMS);
        let figure = |figure: f64| format!("{figure:.1}");
        let name = match before {
            Before::Real => "ptp, host-local, portmap",
            Before::Said => "next to nothing",
        };
        let mut cells: Vec<Cell> = vec![name.into(), rate.to_string().into(), own.count.to_string().into()];
        let both = |it: &Summary| [it.median, it.p99].map(|it| figure(it).into());
        cells.extend(both(&without).into_iter().chain(both(&with)));
        cells.push(Cell::at_most(figure(own.median), own.median, aims.map(|aims| aims.0)));
        cells.push(Cell::at_most(figure(own.p99), own.p99, aims.map(|aims| aims.1)));
        table.cells(cells);
    }
    let title = format!(
        "CNI ADD of isolated pods, which a policy of another node names, in ms; writes take {} ms",
        starts::WRITE.as_millis()
    );
    Ok((title, table))
}

/// What pods of one rate have in common.
struct Round<'a> {
    cluster: &'a Cluster,
    with: Runtime,
    without: Runtime,
    /// What nobody enters may be everybody's.
    shared: Option<Sandbox>,
    /// Making one is no part of ADD, and takes more than that.
    free: Mutex<Vec<Sandbox>>,
    samples: Mutex<Samples>,
}

/// Starts pods on time, whatever becomes of those before; every third is without the plugin, between two others.
fn run(
    cluster: &Cluster,
    before: Before,
    rate: u32,
    count: u32,
    number: &mut u32,
) -> anyhow::Result<Samples> {
    let runtime = |ours| match before {
        Before::Real => Ok(cluster.runtime(0, POOL, ours)),
        Before::Said => starts::said(cluster, 0, ours),
    };
    let round = Round {
        cluster,
        with: runtime(true)?,
        without: runtime(false)?,
        shared: (before == Before::Said).then(|| cluster.sandbox(0, &format!("said-{rate}"))),
        free: Mutex::default(),
        samples: Mutex::default(),
    };
    let start = Instant::now();
    let until = |due: Instant| thread::sleep(due.saturating_duration_since(Instant::now()));
    thread::scope(|scope| {
        let round = &round;
        let mut begin = |ours: bool| {
            let own = *number;
            *number += 1;
            scope.spawn(move || round.one(own, ours));
        };
        for turn in 0..count {
            let due = start + Duration::from_secs(1) * turn / rate;
            until(due);
            begin(true);
            if turn % 2 == 1 {
                until(due + Duration::from_secs(1) / (2 * rate));
                begin(false);
            }
        }
    });
    round.samples.into_inner().map_err(|_| anyhow::anyhow!("a pod did not start"))
}

impl Round<'_> {
    /// A pod from its start to its end.
    fn one(&self, number: u32, ours: bool) {
        if let Some(sandbox) = &self.shared {
            return self.pod(number, ours, sandbox);
        }
        let found = self.free.lock().unwrap().pop();
        let sandbox = found.unwrap_or_else(|| self.cluster.sandbox(0, &format!("box-{number}")));
        self.pod(number, ours, &sandbox);
        self.free.lock().unwrap().push(sandbox);
    }

    fn pod(&self, number: u32, ours: bool, sandbox: &Sandbox) {
        let (namespace, name) = (Role::Client.namespace(), format!("pod-{number}"));
        self.cluster.put(0, namespace, &name, Role::Client.label());
        let attachment = self.cluster.attachment(namespace, &name, sandbox);
        let runtime = if ours { &self.with } else { &self.without };
        let steps = runtime.add_timed(&attachment).unwrap();
        let times: Vec<f64> = steps.iter().map(|(_, took)| milliseconds(*took)).collect();
        let whole = times.iter().sum();
        let mut samples = self.samples.lock().unwrap();
        if ours {
            samples.with.push(whole);
            samples.own.extend(times.last());
        } else {
            samples.without.push(whole);
        }
        drop(samples);
        thread::sleep(LIFE);
        runtime.del(&attachment).unwrap();
        self.cluster.remove(namespace, &name);
    }
}
