//! Logs: one line per event on standard error, filtered by `--log` / `FLOCK_LOG`. Nobody waits for a reader.

mod lines;

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use lines::{Lines, Obituary};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal only.
    Text,
    /// One JSON object per line.
    Json,
}

/// The lines of this process.
static LINES: OnceLock<Lines> = OnceLock::new();

/// Waits, when it is dropped, for the last lines to be written; half a second at most.
#[must_use]
#[derive(Debug)]
pub struct Logs(());

impl Drop for Logs {
    fn drop(&mut self) {
        if let Some(lines) = LINES.get() {
            lines.farewell();
        }
    }
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error(transparent)]
    Filter(#[from] ParseError),
    /// There is no thread for them.
    #[error("no thread can be started for logs: {0}")]
    Thread(#[from] io::Error),
}

/// Installs the process's subscriber. `filter` is a `tracing` filter such as `info` or `flock_compiler=debug`.
/// A second call leaves the first subscriber in place. To be dropped last of all.
///
/// # Errors
/// When `filter` does not parse, or the system gives no thread.
pub fn init(filter: &str, format: LogFormat) -> Result<Logs, LogError> {
    let filter = EnvFilter::try_new(filter)?;
    let lost: Obituary = match format {
        LogFormat::Text => |count| format!(" WARN {count} log lines were lost: nobody read them in time\n"),
        LogFormat::Json => |count| {
            let message = "log lines were lost: nobody read them in time";
            format!(r#"{{"level":"WARN","fields":{{"message":"{message}","count":{count}}}}}"#) + "\n"
        },
    };
    let lines = Lines::to(io::stderr(), lost)?;
    let lines = LINES.get_or_init(|| lines).clone();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines).with_target(false);
    let installed = match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    drop(installed);
    Ok(Logs(()))
}

/// Log lines of this process that nobody read in time.
#[must_use]
pub fn lost_lines() -> u64 {
    LINES.get().map_or(0, Lines::lost)
}
