//! The process around the agent: options, logs, signals, exit status.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use flock_node_agent::cli::{Options, Task};
use flock_node_agent::install::{Command, keep};
use flock_node_agent::nft::Nft;
use flock_node_agent::run::{self, Config};
use flock_node_agent::{facts, handover, state};
use flock_shared::telemetry::{self, LogFormat};
use flock_shared::{TABLE, shutdown};
use tokio::sync::watch;
use tracing::info;

fn main() -> ExitCode {
    if let Some(done) = in_place_of_nft() {
        return ended(done);
    }
    let options = Options::parse();
    let _logs = match telemetry::init(options.log(), LogFormat::Text) {
        Ok(logs) => logs,
        Err(error) => Options::command().error(ErrorKind::ValueValidation, format!("--log: {error}")).exit(),
    };
    let task = options.task().unwrap_or_else(|error| error.exit());
    ended(perform(task))
}

/// What this process is for if the agent has started it where nft would be.
fn in_place_of_nft() -> Option<anyhow::Result<()>> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next()?.as_str() {
        handover::HAND_OVER => {
            Some(handover::hand_over(&arguments.next().unwrap_or_default()).map_err(Into::into))
        }
        facts::LOOK => Some(facts::look_in_place(&arguments.next().unwrap_or_default()).map_err(Into::into)),
        _ => None,
    }
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is all that is left to report to.
            let _ = writeln!(std::io::stderr().lock(), "flock-node-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> anyhow::Result<()> {
    // One thread: the agent waits for nft and for the compiler, and its memory counts on every node.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let done = runtime.block_on(async {
        match task {
            Task::Run(config) => run(config).await,
            Task::Uninstall { nft, state_dir } => uninstall(&nft, state_dir.as_deref()).await,
            Task::Cni(Command::InstallCni(options)) => {
                Ok(keep::install(options, shutdown::requested()).await?)
            }
            Task::Cni(Command::UninstallCni(options)) => {
                keep::uninstall(&options)?.iter().try_for_each(|line| say(line))
            }
        }
    });
    // A write to a disk that hangs is not waited for.
    runtime.shutdown_background();
    done
}

async fn run(config: Config) -> anyhow::Result<()> {
    let (stop, stopped) = watch::channel(false);
    let agent = run::run(config, stopped);
    tokio::pin!(agent);
    let signal = tokio::select! {
        end = &mut agent => return Ok(end?),
        signal = shutdown::requested() => signal.context("waiting for signals")?,
    };
    info!(signal, "stopping; the rules stay in place");
    stop.send_replace(true);
    Ok(agent.await?)
}

/// Removes the tables, then what would bring it back at the next start: in this order, so that a table that stays is
/// one that can be restored.
async fn uninstall(nft: &Nft, state_dir: Option<&Path>) -> anyhow::Result<()> {
    nft.uninstall().await.with_context(|| format!("removing table {TABLE}"))?;
    say(&format!("removed table {TABLE}, if it was there"))?;
    let Some(folder) = state_dir else { return Ok(()) };
    let removed = state::remove(folder)
        .with_context(|| format!("removing the saved ruleset from {}", folder.display()))?;
    if removed.is_empty() {
        say(&format!("no saved ruleset in {}", folder.display()))?;
    }
    removed.iter().try_for_each(|path| say(&format!("removed {}", path.display())))
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("writing to standard output")
}
