//! The programs under test: those beside this test's own executable, built first where they are missing or older
//! than their sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

pub(crate) const COMPILER: &str = "flock-compiler";
pub(crate) const AGENT: &str = "flock-node-agent";
pub(crate) const FLOCKCTL: &str = "flockctl";
pub(crate) const CNI: &str = "flock-cni";

/// Names of programs, which are those of their packages.
const PROGRAMS: [&str; 4] = [COMPILER, AGENT, FLOCKCTL, CNI];

/// The workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A command that runs the program, without this machine's `FLOCK_*` variables.
pub(crate) fn program(name: &str) -> Command {
    static DIRECTORY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let directory = match DIRECTORY.get_or_init(up_to_date) {
        Ok(directory) => directory,
        Err(error) => panic!("{error}"),
    };
    command(&directory.join(name))
}

/// The same program of another profile, where it has been built and is up to date.
pub(crate) fn program_of_profile(profile: &str, name: &str) -> Option<Command> {
    let path = profile_directory().with_file_name(profile).join(name);
    is_up_to_date(&path).then(|| command(&path))
}

/// The directory of this executable's profile, such as `target/debug`.
pub(crate) fn profile_directory() -> PathBuf {
    // Test executables are in `deps` below it.
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned()
}

fn command(path: &Path) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLOCK_")) {
        command.env_remove(name);
    }
    // Agents of several nodes are on this one host.
    command.env("FLOCK_HEALTH_LISTEN", "none");
    command
}

/// The directory of the programs, once they are all there.
fn up_to_date() -> Result<PathBuf, String> {
    let directory = profile_directory();
    if PROGRAMS.iter().all(|name| is_up_to_date(&directory.join(name))) {
        return Ok(directory);
    }
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(workspace()).args(["build", "--quiet", "--profile", profile]);
    build.arg("--target-dir").args(directory.parent());
    build.args(PROGRAMS.iter().flat_map(|name| ["--package", name]));
    let built = build.output().map_err(|error| format!("cargo cannot be run: {error}"))?;
    if built.status.success() {
        Ok(directory)
    } else {
        Err(format!("{build:?}: {}", String::from_utf8_lossy(&built.stderr)))
    }
}

/// Whether an executable is newer than all sources that cargo noted beside it.
fn is_up_to_date(path: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let sources = fs::read_to_string(path.with_extension("d")).unwrap_or_default();
    let Some((_, sources)) = sources.split_once(": ") else { return false };
    // A source that cannot be found has moved, or has a name that make would have to unescape: cargo knows.
    let newest: Option<Vec<SystemTime>> =
        sources.split_whitespace().map(|path| modified(Path::new(path))).collect();
    let newest = newest.and_then(|times| times.into_iter().max());
    newest.is_some_and(|newest| modified(path).is_some_and(|built| built >= newest))
}
