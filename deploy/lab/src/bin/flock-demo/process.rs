//! The programs that the demo runs: started with a log file each, watched, and stopped in any case.

use std::env;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a program may take to end when asked to.
const GRACE: Duration = Duration::from_secs(3);
/// Lines of a log that are shown when a program fails.
const SHOWN: usize = 15;

/// A program built beside this one.
pub(crate) fn sibling(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("find this program's own path")?;
    let path = own.with_file_name(name);
    ensure!(path.exists(), "{} is missing: build it first (deploy/demo does)", path.display());
    Ok(path)
}

/// A running program; dropping it stops it.
pub(crate) struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `program`, logging into `directory`. In a process group of its own, so that the terminal's Ctrl-C
    /// leaves the order of shutting down to the demo; should the demo be killed, the program is told to end.
    pub(crate) fn start(name: &str, program: &Path, arguments: &[&str], directory: &Path) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("make {}", log.display()))?;
        let errors = file.try_clone().context("share a log file")?;
        // It then ends with this process, also if that is killed.
        let mut command = if Path::new("/usr/bin/setpriv").exists() {
            let mut command = Command::new("/usr/bin/setpriv");
            command.args(["--pdeathsig", "TERM", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // Ctrl-C is this process's to act on.
        command.args(arguments).process_group(0).stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = command.spawn().with_context(|| format!("start {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Fails, with the end of the log, once the program has ended by itself.
    pub(crate) fn ensure_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().with_context(|| format!("watch {}", self.name))? {
            bail!("{} ended ({status}); its log ends with:\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    /// The last lines of the program's log.
    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(SHOWN)..];
        tail.iter().map(|line| format!("    {}: {line}\n", self.name)).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It may have ended already.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let start = Instant::now();
        while start.elapsed() < GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
