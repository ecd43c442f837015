//! The command lines of installing what restores, and of taking it out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, value_parser};
use flock_shared::NodeName;

use super::unit::plain;

const PREFIX: &str = "/opt/flock";
const STATE_DIR: &str = "/var/lib/flock";
const UNIT_DIR: &str = "/etc/systemd/system";

/// How what restores is installed.
#[derive(Debug, Clone, Args)]
pub struct InstallRestore {
    #[command(flatten)]
    pub(super) places: Places,

    /// Where the agent of the node saves its ruleset, as the host sees it
    #[arg(long, env = "FLOCK_STATE_DIR", value_name = "DIR", default_value = STATE_DIR, value_parser = plain)]
    pub(super) state_dir: PathBuf,

    /// Restore the ruleset of this node only (Node.metadata.name); else of whichever node is saved there
    #[arg(long, env = "FLOCK_NODE", value_name = "NAME")]
    pub(super) node: Option<NodeName>,

    /// How long restoring may hold up the node's start
    #[arg(long, env = "FLOCK_RESTORE_TIMEOUT", value_name = "SECONDS", default_value_t = 20, value_parser = value_parser!(u16).range(1..=300))]
    restore_timeout: u16,

    /// The agent that the host runs: flock-node-agent-static beside this program, or this program
    #[arg(long, env = "FLOCK_RESTORE_AGENT", value_name = "FILE")]
    agent: Option<PathBuf>,

    /// The nft that the host runs; the first in PATH unless given
    #[arg(long, env = "FLOCK_RESTORE_NFT", value_name = "FILE")]
    nft_program: Option<PathBuf>,

    /// Install it, then exit: 0 if it is in place, 1 if not. Else it is tried until it is, and then waited for SIGTERM
    #[arg(long, env = "FLOCK_RESTORE_ONCE")]
    pub(super) once: bool,
}

/// How it is taken out.
#[derive(Debug, Clone, Args)]
pub struct UninstallRestore {
    #[command(flatten)]
    pub(super) places: Places,
}

/// Where things are on the host.
#[derive(Debug, Clone, Args)]
pub(super) struct Places {
    /// Where the host's root folder is, or parts of it are
    #[arg(long, env = "FLOCK_HOST_ROOT", value_name = "DIR", default_value = "/")]
    host_root: PathBuf,

    /// The folder for the programs, as the host sees it
    #[arg(long, env = "FLOCK_RESTORE_PREFIX", value_name = "DIR", default_value = PREFIX, value_parser = plain)]
    pub(super) prefix: PathBuf,

    /// The folder of systemd's units, as the host sees it
    #[arg(long, env = "FLOCK_UNIT_DIR", value_name = "DIR", default_value = UNIT_DIR, value_parser = plain)]
    unit_dir: PathBuf,
}

impl Places {
    /// The folder for the programs, from here.
    pub(super) fn programs(&self) -> PathBuf {
        self.seen_from_here(&self.prefix)
    }

    /// The folder of units, from here.
    pub(super) fn units(&self) -> PathBuf {
        self.seen_from_here(&self.unit_dir)
    }

    fn seen_from_here(&self, path: &Path) -> PathBuf {
        self.host_root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl InstallRestore {
    pub(super) fn within(&self) -> Duration {
        Duration::from_secs(self.restore_timeout.into())
    }

    /// The agent that is installed.
    pub(super) fn agent(&self) -> PathBuf {
        let own = std::env::current_exe().unwrap_or_default();
        let beside = own.with_file_name("flock-node-agent-static");
        let found = if beside.is_file() { beside } else { own };
        self.agent.clone().unwrap_or(found)
    }

    /// The nft that is installed.
    pub(super) fn nft(&self) -> PathBuf {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&path).map(|folder| folder.join("nft"));
        self.nft_program.clone().or_else(|| places.find(|nft| nft.is_file())).unwrap_or_else(|| "nft".into())
    }
}
