//! A process that never outlives the test which started it, and whose log a failing test prints.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait::{wait_for, wait_until, wait_within};

/// Lines of the log that a failing test prints.
const SHOWN: usize = 40;
/// Far more than an end takes, and less than peers that are gone could hold it up.
const PROMPT: Duration = Duration::from_secs(15);

/// A running program; dropping it kills it.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, with both of its outputs going to one file in `directory`.
    pub(crate) fn start(mut command: Command, directory: &Path) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let program = Path::new(command.get_program()).file_name().unwrap().to_string_lossy().into_owned();
        let log = directory.join(format!("{program}-{}.log", COUNTER.fetch_add(1, Ordering::Relaxed)));
        let file = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), log }
    }

    /// What it has printed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The first line that holds `text`, once it is printed whole. A process that ends before it fails the test.
    pub(crate) fn line(&mut self, text: &str) -> String {
        wait_for(&format!("{text:?} in the log"), || {
            let ended = self.child.try_wait().unwrap();
            let log = self.log();
            let whole = log.split_inclusive('\n').find(|line| line.contains(text) && line.ends_with('\n'));
            assert!(whole.is_some() || ended.is_none(), "{ended:?}: {log}");
            whole.map(|line| line.trim_end().to_owned())
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and how it ends, promptly.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        wait_within(PROMPT, "the end after SIGTERM", || self.child.try_wait().unwrap())
    }

    /// SIGKILL: it has no chance to say anything.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        wait_until("a killed process to end", || self.child.try_wait().unwrap().is_some());
    }

    /// Returns true if it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// How it ends.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait_for("a process to end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            println!("{}:", self.log.display());
            lines[lines.len().saturating_sub(SHOWN)..].iter().for_each(|line| println!("    {line}"));
        }
    }
}
