//! Checks on any cluster, by packets of pods that it makes, that policies are enforced; with `--simulate`, on nodes that are
//! network namespaces. `deploy/README.md` says how to use it.
//!
//! ```text
//! options ─▶ cluster (kubeconfig, or simulate) ─▶ cast ─▶ checks, one after another ─▶ report
//! ```

mod cast;
mod checks;
mod cluster;
mod options;
mod perform;
mod report;
mod simulate;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use flock_testkit::ApiServer;
use kube::{Client, Config};

use checks::{CHECKS, Check};
use cluster::{Cluster, Hands};
use options::Options;
use report::Entry;
use simulate::Simulation;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = tokio::runtime::Runtime::new().context("starting the runtime").and_then(|runtime| {
        let done = runtime.block_on(perform_all(&options));
        // Threads that still wait for packets are not waited for.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Standard error is all that is left to report to.
            let _ = writeln!(std::io::stderr().lock(), "flock-e2e: {error:#}");
            ExitCode::from(if error.is::<Interrupted>() { 130 } else { 2 })
        }
    }
}

fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("writing to standard output")
}

/// The checks that were asked for.
fn wanted(options: &Options) -> Result<Vec<&'static Check>> {
    let unknown = options.only.iter().find(|name| CHECKS.iter().all(|check| check.name != **name));
    ensure!(
        unknown.is_none(),
        "there is no check {:?}: --list names them",
        unknown.map_or("", String::as_str)
    );
    let is_wanted =
        |check: &&Check| options.only.is_empty() || options.only.iter().any(|name| name == check.name);
    Ok(CHECKS.iter().filter(is_wanted).collect())
}

/// What runs beside the checks, and ends after them.
#[derive(Default)]
struct Beside {
    simulation: Option<Simulation>,
    /// Where Node objects of a run may be, and the run.
    objects: Option<(Client, String)>,
    server: Option<ApiServer>,
    folder: Option<tempfile::TempDir>,
}

/// Makes the checks; whether all passed.
async fn perform_all(options: &Options) -> Result<bool> {
    let checks = wanted(options)?;
    if options.list {
        checks.iter().try_for_each(|check| say(&format!("{:<20} {}", check.name, check.about)))?;
        return Ok(true);
    }
    // Before anything is made, so that no signal finds something that would stay.
    let mut interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut beside = Beside::default();
    let done = tokio::select! {
        done = prepared(options, &mut beside) => done,
        _ = interrupted.recv() => Err(Interrupted.into()),
        _ = terminated.recv() => Err(Interrupted.into()),
    };
    let done = match done {
        Ok(cluster) => {
            let mut entries = Vec::new();
            let checked = tokio::select! {
                checked = check_all(&cluster, options, &checks, &mut beside, &mut entries) => checked,
                _ = interrupted.recv() => Err(Interrupted.into()),
                _ = terminated.recv() => Err(Interrupted.into()),
            };
            // Whatever has happened, and not cut short by a second signal.
            let cleaned = cluster.clean_up().await.context("deleting what was made");
            if let Some(path) = &options.junit
                && !entries.is_empty()
            {
                std::fs::write(path, report::junit(&entries))
                    .with_context(|| format!("writing {}", path.display()))?;
            }
            checked.and_then(|()| cleaned.map(|()| entries))
        }
        Err(error) => Err(error),
    };
    if let Some(simulation) = beside.simulation.take() {
        simulation.end().await;
    }
    if let Some((client, run)) = &beside.objects {
        simulate::delete_nodes(client, run).await.context("deleting the simulated nodes")?;
    }
    let entries = done?;
    say(&format!("\n{}", report::summary(&entries)))?;
    Ok(report::is_good(&entries))
}

/// The cluster that the options name, and what stands in for parts of it.
async fn prepared(options: &Options, beside: &mut Beside) -> Result<Cluster> {
    let id = cluster::run_id();
    if !options.simulate {
        let client = Client::try_from(cluster::config(options).await?)?;
        let nodes = cluster::nodes(&client, &options.nodes).await?;
        say(&format!("run {id} on {}", nodes.join(" and ")))?;
        return Ok(Cluster::new(client, simulate::run(id, options.image.clone(), nodes), Hands::Exec));
    }
    let (config, kubeconfig) = match &options.kubeconfig {
        Some(path) => (cluster::config(options).await?, path.clone()),
        None => own_server(beside).await?,
    };
    let client = Client::try_from(config)?;
    let programs = match &options.programs {
        Some(folder) => folder.clone(),
        None => std::env::current_exe()?.parent().map(PathBuf::from).context("where this program is")?,
    };
    // Before anything is made, so that a start that fails halfway is cleaned up as well.
    beside.objects = Some((client.clone(), id.clone()));
    let simulation = Simulation::start(&client, &kubeconfig, &programs, &id).await?;
    say(&format!("run {id} on simulated nodes {}\n{}", simulation.nodes().join(" and "), simulation.hints))?;
    let run = simulate::run(id, options.image.clone(), simulation.nodes());
    let hands = Hands::Sandboxes(std::sync::Arc::clone(&simulation.sandboxes));
    beside.simulation = Some(simulation);
    Ok(Cluster::new(client, run, hands))
}

/// An API server in this process, and how it is reached.
async fn own_server(beside: &mut Beside) -> Result<(Config, PathBuf)> {
    let (server, folder) = (ApiServer::start().await?, tempfile::tempdir()?);
    let kubeconfig = server.write_kubeconfig(folder.path())?;
    let config = server.config();
    (beside.server, beside.folder) = (Some(server), Some(folder));
    Ok((config, kubeconfig))
}

async fn check_all(
    cluster: &Cluster,
    options: &Options,
    checks: &[&Check],
    beside: &mut Beside,
    entries: &mut Vec<Entry>,
) -> Result<()> {
    let start = Instant::now();
    let addresses = cluster.prepare(options.start_timeout).await?;
    say(&format!("pods run after {:.1?}\n", start.elapsed()))?;
    tokio::time::sleep(options.hold).await;
    for check in checks {
        if let Some(simulation) = &mut beside.simulation {
            simulation.ensure_running()?;
        }
        let start = Instant::now();
        let outcome = perform::perform(check, cluster, &addresses, options.timeout).await;
        let outcome = outcome.with_context(|| format!("check {}", check.name))?;
        let entry = Entry { name: check.name, about: check.about, outcome, took: start.elapsed() };
        say(&entry.line())?;
        entries.push(entry);
    }
    Ok(())
}
