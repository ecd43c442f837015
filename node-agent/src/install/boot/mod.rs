//! Installs what restores the ruleset before a node's pods start, and takes it out again: the agent, and nft with its
//! loader and libraries, in a folder of their own on the host, and a unit of systemd that runs them.
//!
//! ```text
//! gather: program ─ loader ─ libraries ──▶ PREFIX/bin, PREFIX/lib ──▶ try them ──▶ unit ──▶ its link
//! ```
//!
//! In this order, and each file in one step: at whichever moment it stops, systemd finds no unit, or one whose programs
//! are there. What was installed is listed beside it, and nothing else is ever removed.

pub mod elf;
pub mod gather;
mod options;
mod tree;
pub mod unit;

use std::fs::{create_dir, remove_file, symlink_metadata};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use super::file::{self, Like};
use gather::gather;
use tree::{LIBRARIES, PROGRAMS, Tree};
use unit::Unit;

pub use options::{InstallRestore, UninstallRestore};

const AGENT: &str = "flock-node-agent";
const NFT: &str = "nft";
/// Whom the unit is started with.
const WANTED_BY: &str = "multi-user.target.wants";
/// Between two tries.
const RETRY: Duration = Duration::from_secs(60);

/// Why it could not be installed, or taken out.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// There is no folder of units.
    #[error("{} is missing: is this a host with systemd?", .0.display())]
    NoSystemd(PathBuf),
    /// A file or folder cannot be read or written.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// Others than root may write to a folder that root runs programs from.
    #[error("{} may be written by others than this user", .0.display())]
    Exposed(PathBuf),
    /// It is no program of this kind of system.
    #[error("{} is no program that can be installed", .0.display())]
    NoProgram(PathBuf),
    /// A library is missing here.
    #[error("{} needs {}, which is missing here", .0.display(), .1)]
    Library(PathBuf, String),
    /// Two programs mean different libraries by one name.
    #[error("two programs need a library {0} each, and not the same one")]
    Ambiguous(String),
    /// What was installed does not run.
    #[error("{program} was installed, and does not run: {said}")]
    Broken {
        /// How it was called.
        program: String,
        /// What it said.
        said: String,
    },
}

/// Installs it, until it is done; then waits for `stop`, unless it is to be done once.
///
/// # Errors
/// When it is to be done once, and cannot.
pub async fn install(
    options: &InstallRestore,
    stop: impl Future<Output = &'static str>,
) -> Result<(), BootError> {
    if options.once {
        return install_once(options);
    }
    tokio::pin!(stop);
    loop {
        let is_done = match install_once(options) {
            Ok(()) => true,
            Err(error) => {
                warn!(%error, "what restores at boot is not installed");
                false
            }
        };
        tokio::select! {
            signal = &mut stop => {
                info!(signal, "stopping; what is installed stays");
                return Ok(());
            }
            () = sleep(RETRY), if !is_done => {}
        }
    }
}

fn install_once(options: &InstallRestore) -> Result<(), BootError> {
    let places = &options.places;
    let units = places.units();
    if !units.is_dir() {
        return Err(BootError::NoSystemd(units));
    }
    let programs = [(AGENT, gather(&options.agent())?), (NFT, gather(&options.nft())?)];
    let tree = Tree::new(places.programs());
    tree.fill(&programs)?;
    let command = |root: &Path, name: &str| {
        let loader = programs.iter().find(|(program, _)| *program == name);
        let loader = loader.and_then(|(_, gathered)| gathered.loader.as_ref());
        words(root, name, loader)
    };
    // Before the unit is written: what does not run here would fail when the host starts.
    for (name, _) in &programs {
        try_out(&command(tree.root(), name))?;
    }
    let unit = Unit {
        agent: command(&places.prefix, AGENT),
        nft: command(&places.prefix, NFT),
        state_dir: options.state_dir.clone(),
        prefix: places.prefix.clone(),
        node: options.node.clone(),
        within: options.within(),
    };
    put(&units, unit::NAME, unit.text().as_bytes(), 0o644)?;
    enable(&units)?;
    info!(
        programs = %tree.root().display(), unit = %units.join(unit::NAME).display(),
        "installed what restores the ruleset when this host starts"
    );
    Ok(())
}

/// How a program is started that may need its loader.
fn words(root: &Path, name: &str, loader: Option<&String>) -> Vec<String> {
    let path = |folder: &str, name: &str| root.join(folder).join(name).display().to_string();
    let program = path(PROGRAMS, name);
    match loader {
        None => vec![program],
        Some(loader) => {
            let libraries = root.join(LIBRARIES).display().to_string();
            vec![path(LIBRARIES, loader), "--library-path".to_owned(), libraries, program]
        }
    }
}

/// Runs a program that was installed, for nothing.
fn try_out(words: &[String]) -> Result<(), BootError> {
    let program = words.join(" ");
    let Some((name, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(name);
    // Without this process's environment, which the unit will not have either.
    command.args(arguments).arg("--version").env_clear().stdin(Stdio::null());
    let said = match command.output() {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => error.to_string(),
    };
    Err(BootError::Broken { program, said })
}

/// Links the unit to what it is started with.
fn enable(units: &Path) -> Result<(), BootError> {
    let folder = units.join(WANTED_BY);
    match create_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(folder)(error)),
        _ => {}
    }
    let link = folder.join(unit::NAME);
    match symlink(format!("../{}", unit::NAME), &link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(failed(link)),
    }
}

/// Takes it out, and tells what was removed, a line each.
///
/// # Errors
/// When something of it cannot be removed.
pub fn uninstall(options: &UninstallRestore) -> Result<Vec<String>, BootError> {
    let units = options.places.units();
    let mut removed = Vec::new();
    // The link first: a unit without programs would fail at each start.
    for path in [units.join(WANTED_BY).join(unit::NAME), units.join(unit::NAME)] {
        if symlink_metadata(&path).is_ok() {
            remove_file(&path).map_err(failed(path.clone()))?;
            removed.push(path);
        }
    }
    removed.extend(Tree::new(options.places.programs()).clear()?);
    if removed.is_empty() {
        return Ok(vec!["nothing that restores at boot is installed".to_owned()]);
    }
    Ok(removed.iter().map(|path| format!("removed {}", path.display())).collect())
}

/// Puts a file in its place in one step.
fn put(folder: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<(), BootError> {
    let path = folder.join(name);
    let written = file::replace(folder, name, bytes, Like::Mode(mode), || Ok(true));
    if written.map_err(failed(path.clone()))? {
        Ok(())
    } else {
        // Two are at it.
        Err(failed(path)(io::ErrorKind::WouldBlock.into()))
    }
}

fn failed(path: PathBuf) -> impl FnOnce(io::Error) -> BootError {
    move |why| BootError::File { path, why }
}
