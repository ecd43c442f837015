//! A compiler's own start, from its process to its first publication, where every pod was attached and where none was.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use flock_lab::figures::{Cell, Progress, Table, bytes, memory, processor_time, summary};

use crate::compiler::Compiler;
use crate::pages::{PODS, Server};

/// How much longer it may take at most.
const BAR: f64 = 1.1;

/// One start.
struct Start {
    /// Until it is ready, in seconds.
    ready: f64,
    /// Of all of its threads by then, in seconds.
    processor: f64,
    /// The most memory, in bytes.
    peak: u64,
}

pub(crate) fn measure(nodes: usize, runs: usize, progress: &mut Progress) -> anyhow::Result<(String, Table)> {
    progress.say("the listings are written");
    let servers = [Server::start(nodes, false)?, Server::start(nodes, true)?];
    let mut starts: [Vec<Start>; 2] = Default::default();
    for run in 0..=runs {
        for (server, starts) in servers.iter().zip(&mut starts) {
            progress.say(format_args!("start {run} of {runs} (0 warms up)"));
            let start = start(server)?;
            if run > 0 {
                starts.push(start);
            }
        }
    }
    let mut table = Table::new(["a compiler's start", "ready, s", "", "processor, s", "", "peak memory"]);
    let median = |starts: &[Start], of: fn(&Start) -> f64| summary(starts.iter().map(of)).median;
    let columns: [fn(&Start) -> f64; 2] = [|it| it.ready, |it| it.processor];
    let base = columns.map(|of| median(&starts[0], of));
    for (words, starts) in ["pods known by their statuses", "every pod attached"].iter().zip(&starts) {
        let mut cells: Vec<Cell> = vec![(*words).into()];
        for (of, base) in columns.iter().zip(base) {
            let figure = median(starts, *of);
            cells.push(format!("{figure:.2}").into());
            cells.push(Cell::at_most(format!("{:.2}", figure / base), figure / base, BAR));
        }
        cells.push(bytes(starts.iter().map(|it| it.peak).max().unwrap_or_default()).into());
        table.cells(cells);
    }
    let title = format!(
        "{nodes} nodes × {PODS} pods from an API server that has its listings ready; medians of {runs} starts, in turns"
    );
    Ok((title, table))
}

fn start(server: &Server) -> anyhow::Result<Start> {
    let directory = tempfile::tempdir()?;
    let kubeconfig = directory.path().join("kubeconfig");
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\n\
         users: [{{name: c, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: c}}}}]\n",
        server.address
    );
    fs::write(&kubeconfig, config)?;
    let started = Instant::now();
    let compiler =
        Compiler::start(["--kubeconfig", kubeconfig.to_str().context("a path in UTF-8")?], directory.path());
    while compiler.admin("/readyz").0 != 200 {
        ensure!(started.elapsed() < Duration::from_secs(300), "the compiler is not ready");
        thread::sleep(Duration::from_millis(5));
    }
    let ready = started.elapsed().as_secs_f64();
    let id = compiler.process.id();
    Ok(Start { ready, processor: processor_time(id)?.as_secs_f64(), peak: memory(Some(id))?.peak })
}
