//! The test programs that guests run, built on the host. They find their files at the same paths there.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::guest::Job;
use crate::options::Part;

/// How long the history of deltas is in a guest: some 200 of them.
const EVENTS: usize = 1_500;

/// A test program.
pub(crate) struct Program {
    /// What it is about.
    pub(crate) part: Part,
    executable: PathBuf,
    /// The folder in which cargo runs it.
    folder: PathBuf,
}

/// What is needed of cargo's message about something that it built.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    profile: Profile,
    manifest_path: PathBuf,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Part {
    /// The test that it is.
    const fn test(self) -> &'static str {
        match self {
            Self::Goldens => "goldens_load",
            Self::Packets | Self::Tunnels => "kernel",
            Self::Deltas => "deltas",
            Self::Agent | Self::Facts => "agent",
        }
    }

    /// Which of its tests are run, and how many at once: what a kernel decides, in a few minutes of a guest. What only
    /// waits, and what our own programs decide, this machine shows as well.
    const fn arguments(self) -> &'static str {
        match self {
            // The other one needs no kernel.
            Self::Goldens => "--test-threads=1 every_golden",
            // Most of the time goes by waiting for packets that do not come.
            Self::Packets => {
                "--test-threads=4 full_matrix::every_pair bridge::nothing bridge::frames mid_stream::"
            }
            Self::Tunnels => "--test-threads=1 tunnel_devices::",
            Self::Deltas => "--test-threads=2",
            Self::Agent => "--test-threads=2 kernel:: kernel_deltas:: drift:: steps:: saved::",
            Self::Facts => "--test-threads=1 facts::",
        }
    }
}

impl Program {
    /// It as a command in a guest.
    pub(crate) fn job(&self, limit: Duration) -> Job {
        let (folder, executable) = (self.folder.display(), self.executable.display());
        let arguments = self.part.arguments();
        let command = format!(
            "export FLOCK_EVENTS={EVENTS}; cd '{folder}' && exec '{executable}' --show-output {arguments}"
        );
        Job { name: self.part.name().to_owned(), command, limit }
    }
}

/// Builds the tests of these parts, as `deploy/test` does: dependencies have other features where one package is built
/// alone, and each such build is one more of everything.
pub(crate) fn build(parts: &[Part]) -> Result<Vec<Program>> {
    let mut command = Command::new("cargo");
    command.args(["test", "--locked", "--quiet", "--no-run", "--message-format=json", "--workspace"]);
    for test in parts.iter().map(|part| part.test()).collect::<BTreeSet<_>>() {
        command.args(["--test", test]);
    }
    let output = command.stderr(Stdio::inherit()).output().context("start cargo")?;
    ensure!(output.status.success(), "cargo could not build the tests");
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let artifacts: Vec<Artifact> =
        messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    parts.iter().map(|&part| program(part, &artifacts)).collect()
}

fn program(part: Part, artifacts: &[Artifact]) -> Result<Program> {
    let mut tests = artifacts.iter().filter(|artifact| artifact.profile.test);
    let artifact = tests.find(|artifact| artifact.target.name == part.test());
    let artifact = artifact.context("cargo does not say what it built")?;
    let folder = artifact.manifest_path.parent().map(PathBuf::from).context("a manifest without a folder")?;
    let executable = artifact.executable.clone().context("cargo built no program")?;
    Ok(Program { part, executable, folder })
}
