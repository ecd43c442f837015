//! The process around the agent: options, logs, signals, exit status.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use flock_node_agent::check::{self, Check, Format};
use flock_node_agent::cli::{Options, Task};
use flock_node_agent::install::{Command, boot, keep};
use flock_node_agent::nft::Nft;
use flock_node_agent::restore::{self, Restore, Restored};
use flock_node_agent::run::{self, Config};
use flock_node_agent::state::Share;
use flock_node_agent::{facts, handover, state};
use flock_shared::telemetry::{self, LogFormat};
use flock_shared::{TABLE, causes, shutdown};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tracing::info;

fn main() -> ExitCode {
    if let Some(done) = in_place_of_nft() {
        return ended(done.map(|()| ExitCode::SUCCESS));
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
        check::LOOK => Some(check::look_in_place().map_err(Into::into)),
        _ => None,
    }
}

fn ended(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            // Standard error is all that is left to report to.
            let _ = writeln!(std::io::stderr().lock(), "flock-node-agent: {}", causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// One thread: the agent waits for nft and for the compiler, and its memory counts on every node.
fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")
}

fn perform(task: Task) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let done = match task {
            Task::Check(what) => return preflight(&what).await,
            Task::Run(config) => run(config).await,
            Task::Uninstall { nft, state_dir } => uninstall(&nft, state_dir.as_deref()).await,
            Task::Restore(what) => restore(what).await,
            Task::Install(Command::InstallCni(options)) => {
                Ok(keep::install(options, stop_requested()?).await?)
            }
            Task::Install(Command::UninstallCni(options)) => {
                keep::uninstall(&options)?.iter().try_for_each(|line| say(line))
            }
            Task::Install(Command::InstallRestore(options)) => {
                Ok(boot::install(&options, stop_requested()?).await?)
            }
            Task::Install(Command::UninstallRestore(options)) => {
                boot::uninstall(&options)?.iter().try_for_each(|line| say(line))
            }
        };
        done.map(|()| ExitCode::SUCCESS)
    });
    // A write to a disk that hangs is not waited for.
    runtime.shutdown_background();
    done
}

/// Looks at the node, and says what it found: exit 1 if something is not well.
async fn preflight(what: &Check) -> anyhow::Result<ExitCode> {
    let report = check::run(what).await;
    let text = match what.format {
        Format::Table => report.table(),
        Format::Json => report.json()?,
    };
    say(text.trim_end())?;
    Ok(if report.well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn stop_requested() -> anyhow::Result<impl Future<Output = &'static str>> {
    shutdown::requested().context("waiting for signals")
}

/// Puts the saved ruleset in place, and says how it is with it.
async fn restore(what: Restore) -> anyhow::Result<()> {
    let folder = what.state_dir.display().to_string();
    match restore::run(what).await.with_context(|| format!("restoring from {folder}"))? {
        Restored::Done { node, revision } => say(&format!("restored {revision} of node {node}")),
        Restored::Nothing => say(&format!("nothing was saved in {folder}")),
        Restored::Attended => {
            say(&format!("left to the agent, or to whoever restores, that works with {folder}"))
        }
        Restored::Standing => say("left alone: a table of flock-netpol judges already"),
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let requested = stop_requested()?;
    let (stop, stopped) = watch::channel(false);
    let agent = run::run(config, stopped);
    tokio::pin!(agent);
    let signal = tokio::select! {
        end = &mut agent => return Ok(end?),
        signal = requested => signal,
    };
    info!(signal, "stopping; the rules stay in place");
    stop.send_replace(true);
    Ok(agent.await?)
}

/// When it is looked for a table that an agent has put back: those that hear of its end take a moment.
const LOOKS: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(600),
    Duration::from_millis(1000),
];

/// Removes the tables, then what would bring it back at the next start: in this order, so that a table that stays is
/// one that can be restored. Beside an agent that runs it is of no use, and the folder is told to be in use; of an agent
/// without one it is known only that the table is back.
async fn uninstall(nft: &Nft, state_dir: Option<&Path>) -> anyhow::Result<()> {
    let claim = |folder: &Path| match state::claim(folder, Share::Alone) {
        Ok(Some(claim)) => Ok(Some(claim)),
        Ok(None) => {
            let folder = folder.display();
            bail!(
                "an agent is running that keeps its ruleset in {folder}: it would put the table back; stop it first"
            )
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("opening {}", folder.display())),
    };
    // For as long as this takes, no agent begins.
    let _alone = state_dir.map(claim).transpose()?;
    nft.uninstall().await.with_context(|| format!("removing table {TABLE}"))?;
    for pause in LOOKS {
        tokio::time::sleep(pause).await;
        if nft.has(TABLE).await.with_context(|| format!("looking for table {TABLE}"))? {
            bail!("an agent is running here: it has put table {TABLE} back; stop it first");
        }
    }
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
