//! The test programs that guests run, built on the host. They find their files at the same paths there.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::guest::Job;
use crate::options::Part;

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
    /// The package and the test that it is.
    const fn test(self) -> (&'static str, &'static str) {
        match self {
            Self::Goldens => ("flock-lab", "goldens_load"),
            Self::Packets => ("flock-lab", "kernel"),
            Self::Deltas => ("flock-lab", "deltas"),
            Self::Agent => ("flock-node-agent", "agent"),
        }
    }

    /// Which of its tests are run, and how many at once.
    const fn arguments(self) -> &'static str {
        match self {
            // The other one needs no kernel.
            Self::Goldens => "--test-threads=1 every_golden",
            // Most of the time goes by waiting for packets that do not come.
            Self::Packets => "--test-threads=4",
            Self::Deltas | Self::Agent => "--test-threads=2",
        }
    }
}

impl Program {
    /// It as a command in a guest.
    pub(crate) fn job(&self, limit: Duration) -> Job {
        let (folder, executable) = (self.folder.display(), self.executable.display());
        let arguments = self.part.arguments();
        let command = format!("cd '{folder}' && exec '{executable}' --show-output {arguments}");
        Job { name: self.part.test().1.to_owned(), command, limit }
    }
}

/// Builds the tests of these parts.
pub(crate) fn build(parts: &[Part]) -> Result<Vec<Program>> {
    parts.iter().map(|&part| build_one(part)).collect()
}

fn build_one(part: Part) -> Result<Program> {
    let (package, test) = part.test();
    let mut command = Command::new("cargo");
    command.args([
        "test",
        "--locked",
        "--quiet",
        "--no-run",
        "--message-format=json",
        "-p",
        package,
        "--test",
        test,
    ]);
    let output = command.stderr(Stdio::inherit()).output().context("start cargo")?;
    ensure!(output.status.success(), "cargo could not build the test {test} of {package}");
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let mut found = artifacts.filter(|artifact| artifact.profile.test && artifact.target.name == test);
    let artifact = found.next().context("cargo does not say what it built")?;
    let folder = artifact.manifest_path.parent().map(PathBuf::from).context("a manifest without a folder")?;
    let executable = artifact.executable.context("cargo built no program")?;
    Ok(Program { part, executable, folder })
}
