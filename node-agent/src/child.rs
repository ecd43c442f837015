//! Running one program to its end: standard input in, a bounded part of its output out, within a time limit.
//!
//! The input is a file without a name, complete before the program starts: should the agent be killed meanwhile, the
//! program reads the whole all the same, never a part that happens to be valid.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tracing::warn;

/// How much of each output is kept, in bytes; the rest is read and dropped, so that the program never blocks on it.
const OUTPUT_LIMIT: usize = 8192;

/// How long output is read on after the program has ended, in case something it left behind holds the pipe open.
const GRACE: Duration = Duration::from_millis(500);

/// What reads its last word, and does not start it.
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ash", "busybox"];

/// A program with its first arguments, such as `ip netns exec n1 nft`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    name: String,
    arguments: Vec<String>,
    /// How much memory it may have, in bytes.
    memory: Option<u64>,
}

/// Where a program runs nft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Where this process is: the program is nft itself, or its last word is all that there is.
    Here,
    /// Where another program brings its last word, which is another one now.
    Behind(Program),
    /// Only a script can stand there.
    Nowhere,
}

/// Why a string is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// A quote is not closed, or a backslash ends the string.
    #[error("has an unclosed quote")]
    Unclosed,
    /// There is no word in it.
    #[error("is empty; expected a command such as nft")]
    Empty,
}

impl std::str::FromStr for Program {
    type Err = ProgramError;

    /// Splits on whitespace, with a shell's quotes; nothing is expanded.
    fn from_str(text: &str) -> Result<Self, ProgramError> {
        let mut words = shlex::split(text).ok_or(ProgramError::Unclosed)?.into_iter();
        let name = words.next().filter(|name| !name.is_empty()).ok_or(ProgramError::Empty)?;
        Ok(Self { name, arguments: words.collect(), memory: None })
    }
}

/// The beginning of what a program wrote to its standard error; shown after a colon, if it wrote anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint(String);

impl Complaint {
    fn new(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).trim_end().to_owned())
    }

    /// Returns true if it is about memory of its own: what nft says, or the library that it counts with.
    fn is_of_memory(&self) -> bool {
        ["Memory allocation failure", "GNU MP: Cannot allocate memory"]
            .iter()
            .any(|words| self.0.contains(words))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("{program} could not be started: {source}")]
    NotStarted {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended with a status other than 0.
    #[error("exit {code}{stderr}")]
    Failed {
        /// Its exit status.
        code: i32,
        /// What it said.
        stderr: Complaint,
    },
    /// It was killed after the time limit.
    #[error("killed after {limit:?} without an end{stderr}")]
    TimedOut {
        /// The time limit.
        limit: Duration,
        /// What it said.
        stderr: Complaint,
    },
    /// Someone else killed it.
    #[error("killed by signal {signal}{stderr}")]
    Killed {
        /// The signal's number.
        signal: i32,
        /// What it said.
        stderr: Complaint,
    },
    /// It was not given the memory that it asked for.
    #[error("more than its {} MiB of memory wanted{stderr}", limit >> 20)]
    OutOfMemory {
        /// How much it may have, in bytes.
        limit: u64,
        /// What it said.
        stderr: Complaint,
    },
    /// Its end could not be learned.
    #[error("its end could not be learned: {0}")]
    Lost(#[source] io::Error),
}

/// A running child that leads a process group; dropping it kills the group.
struct Leader(Child);

impl Leader {
    fn kill(&self) {
        // The identifier is there only until the child has been reaped, so it names no other process.
        if let Some(group) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // Fails only if the group has ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.kill();
    }
}

impl ChildError {
    /// The same, where the limit was what was left of this one.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        match self {
            Self::TimedOut { stderr, .. } => Self::TimedOut { limit, stderr },
            other => other,
        }
    }
}

impl Program {
    /// The same, which may have so much memory (address space, in bytes); what it starts inherits that.
    #[must_use]
    pub const fn within(mut self, memory: u64) -> Self {
        self.memory = Some(memory);
        self
    }

    /// How `other` is started where nft would be.
    #[must_use]
    pub fn place_of_nft(&self, other: &str) -> Place {
        let file_name =
            |word: &str| Path::new(word).file_name().map(|name| name.to_string_lossy().into_owned());
        let Some((_, before)) = self.arguments.split_last() else { return Place::Here };
        // If the last word that is no option is a shell, it would read what stands in nft's place as a script.
        let mut words = before.iter().rev().chain([&self.name]);
        let reader = words.find(|word| !word.starts_with('-')).and_then(|word| file_name(word));
        if file_name(&self.name).is_some_and(|name| name == "nft") {
            Place::Here
        } else if reader.is_some_and(|name| SHELLS.contains(&name.as_str())) {
            Place::Nowhere
        } else {
            let arguments = before.iter().cloned().chain([other.to_owned()]).collect();
            Place::Behind(Self { name: self.name.clone(), arguments, memory: None })
        }
    }

    /// Runs the program with further arguments, feeds it `input`, and gives the beginning of its standard output.
    /// At the time limit its whole process group is killed.
    ///
    /// # Errors
    /// Everything but exit 0 within the limit.
    pub async fn run(&self, arguments: &[&str], input: &[u8], limit: Duration) -> Result<String, ChildError> {
        self.run_on(arguments, held(input).map_err(|source| self.not_started(source))?, limit).await
    }

    /// The same, with a standard input that is there already.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub async fn run_on(
        &self,
        arguments: &[&str],
        input: Stdio,
        limit: Duration,
    ) -> Result<String, ChildError> {
        let mut leader = Leader(self.spawn(arguments, input)?);
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let status = {
            let (stdout, stderr) = (leader.0.stdout.take(), leader.0.stderr.take());
            // Both pipes at once: a program must not block on one of them.
            let pumps = async { tokio::join!(keep(stdout, &mut output), keep(stderr, &mut errors)) };
            tokio::pin!(pumps);
            // What the program has started may hold its pipes open beyond its end, so they are waited for only
            // briefly then.
            let end = async {
                tokio::select! {
                    _ = &mut pumps => leader.0.wait().await,
                    status = leader.0.wait() => {
                        let _ = timeout(GRACE, &mut pumps).await;
                        status
                    }
                }
            };
            timeout(limit, end).await
        };
        let stderr = Complaint::new(&errors);
        let Ok(status) = status else {
            leader.kill();
            // Reaps it; a process that even SIGKILL does not end is left to the runtime.
            let _ = timeout(GRACE, leader.0.wait()).await;
            return Err(ChildError::TimedOut { limit, stderr });
        };
        let status = status.map_err(ChildError::Lost)?;
        if let Some(limit) = self.memory.filter(|_| !status.success() && stderr.is_of_memory()) {
            return Err(ChildError::OutOfMemory { limit, stderr });
        }
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(String::from_utf8_lossy(&output).into_owned()),
            (Some(code), _) => Err(ChildError::Failed { code, stderr }),
            (None, signal) => Err(ChildError::Killed { signal: signal.unwrap_or_default(), stderr }),
        }
    }

    fn not_started(&self, source: io::Error) -> ChildError {
        ChildError::NotStarted { program: self.name.clone(), source }
    }

    fn spawn(&self, arguments: &[&str], input: Stdio) -> Result<Child, ChildError> {
        let mut command = Command::new(&self.name);
        command.args(&self.arguments).args(arguments);
        // Nothing of the agent's environment is the program's business, and without a locale its messages are in
        // English; only PATH stays, by which the program, and nft behind a wrapper, is found.
        command.env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: it is killed as a whole, and a terminal's Ctrl-C does not reach it halfway.
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn().map_err(|source| self.not_started(source))?;
        self.limit(&child);
        Ok(child)
    }

    /// Limits the memory of a child that runs already: between fork and exec nothing can be done without unsafe code.
    /// What it has by then is little, and each further request is held against the limit.
    fn limit(&self, child: &Child) {
        let (Some(memory), Some(pid)) =
            (self.memory, child.id().and_then(|id| Pid::from_raw(id.cast_signed())))
        else {
            return;
        };
        let limit = Rlimit { current: Some(memory), maximum: Some(memory) };
        // A program that has ended already needs no limit.
        if let Err(error) = prlimit(Some(pid), Resource::As, limit)
            && error != Errno::SRCH
        {
            warn!(program = self.name, %error, "its memory is not limited");
        }
    }
}

/// `input` as what a program reads from.
fn held(input: &[u8]) -> io::Result<Stdio> {
    if input.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(input)?;
    file.rewind()?;
    Ok(file.into())
}

/// Reads to the end and keeps the beginning in `kept`.
async fn keep(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = [0; 2048];
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        // Read on, though no more is kept: a program whose pipe is full would never end.
        let room = OUTPUT_LIMIT.saturating_sub(kept.len());
        kept.extend(chunk.iter().take(length.min(room)));
    }
}

#[cfg(test)]
#[path = "child_tests.rs"]
mod tests;
