//! The command lines of installing and taking out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, value_parser};
use flock_shared::cni::{LONGEST_TIMEOUT_MS, PLUGIN, SOCKET, TIMEOUT_MS};

use super::boot::{InstallRestore, UninstallRestore};
use super::entry::{OnTimeout, PluginEntry};
use super::select::Choice;

/// Where runtimes look for plugins unless they are told otherwise.
pub const BIN_DIR: &str = "/opt/cni/bin";
/// Where runtimes look for configurations unless they are told otherwise.
pub const CONF_DIR: &str = "/etc/cni/net.d";
/// The longest path of a Unix socket, in bytes.
const LONGEST_SOCKET: usize = 107;

/// What is done about what the node runs, in place of what an agent does.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Install the CNI plugin on this node, and keep it there
    InstallCni(Install),
    /// Take the CNI plugin out of the configurations of this node
    UninstallCni(Uninstall),
    /// Install on this host what restores the saved ruleset when it starts, before its pods: a unit of systemd, this agent,
    /// and nft with its libraries
    InstallRestore(InstallRestore),
    /// Take out of this host what install-restore put there
    UninstallRestore(UninstallRestore),
}

/// How the plugin is installed.
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[derive(Debug, Clone, Args)]
pub struct Install {
    #[command(flatten)]
    folders: Folders,

    /// The plugin's binary; beside this program's own unless given. The host runs it: it should be linked statically
    #[arg(long, env = "FLOCK_CNI_BINARY", value_name = "FILE")]
    binary: Option<PathBuf>,

    /// The configuration that the runtime uses, by its file's name; else the first, as runtimes choose
    #[arg(long, env = "FLOCK_CNI_CONF_FILE", value_name = "NAME", conflicts_with = "network", value_parser = file_name)]
    conf_file: Option<String>,

    /// The configuration that the runtime uses, by its network's name (cni_default_network of CRI-O)
    #[arg(long, env = "FLOCK_CNI_NETWORK", value_name = "NAME")]
    network: Option<String>,

    /// Where the agent of the node listens, as the host sees it
    #[arg(long, env = "FLOCK_CNI_SOCKET", value_name = "PATH", default_value = SOCKET, value_parser = socket)]
    socket: PathBuf,

    /// How long a pod waits to become known, in milliseconds
    #[arg(long, env = "FLOCK_CNI_TIMEOUT_MS", value_name = "MILLISECONDS", default_value_t = TIMEOUT_MS,
          value_parser = value_parser!(u32).range(1..=i64::from(LONGEST_TIMEOUT_MS)))]
    timeout_ms: u32,

    /// What becomes of a pod that did not become known in time: it starts all the same, or is tried again
    #[arg(
        long,
        env = "FLOCK_CNI_ON_TIMEOUT",
        value_name = "continue|fail",
        value_enum,
        default_value = "continue"
    )]
    on_timeout: OnTimeout,

    /// Where the plugin writes down calls, as the host sees it
    #[arg(long, env = "FLOCK_CNI_PLUGIN_LOG", value_name = "PATH", value_parser = absolute)]
    plugin_log: Option<PathBuf>,

    /// Install it, then exit: 0 if it is in place, 1 if not. Who rewrites the configuration afterwards takes it out
    #[arg(long, env = "FLOCK_CNI_ONCE")]
    once: bool,

    /// Take it out of the configurations again on SIGTERM and SIGINT. Not the default: an update of a DaemonSet ends this
    /// process, too, and pods that start meanwhile would start without it
    #[arg(long, env = "FLOCK_CNI_UNINSTALL_ON_EXIT", conflicts_with = "once")]
    uninstall_on_exit: bool,

    /// Keep it out instead: take it out of the configurations, also when somebody puts it back, until SIGTERM. The binary
    /// stays, for pods that were started with it. What comes before the agents go for good
    #[arg(long, env = "FLOCK_CNI_ABSENT", conflicts_with_all = ["once", "uninstall_on_exit"])]
    absent: bool,

    /// Say whether it is as the other options want it, and change nothing: exit 0 if so, 1 if not. What a readiness probe asks
    #[arg(long)]
    probe: bool,
}

/// How the plugin is taken out.
#[derive(Debug, Clone, Args)]
pub struct Uninstall {
    #[command(flatten)]
    folders: Folders,

    /// Remove the binary, too. Runtimes that remember the configuration a pod was started with (CRI-O) need it until the
    /// last pod that it was there for has ended; without it, those pods do not end
    #[arg(long, env = "FLOCK_CNI_REMOVE_BINARY")]
    remove_binary: bool,
}

#[derive(Debug, Clone, Args)]
struct Folders {
    /// Where the runtime looks for plugins
    #[arg(long, env = "FLOCK_CNI_BIN_DIR", value_name = "DIR", default_value = BIN_DIR)]
    bin_dir: PathBuf,

    /// Where the runtime looks for configurations
    #[arg(long, env = "FLOCK_CNI_CONF_DIR", value_name = "DIR", default_value = CONF_DIR)]
    conf_dir: PathBuf,
}

/// When installing ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UntilWhen {
    /// Once it is done.
    Installed,
    /// When the process is asked to stop; the plugin stays.
    Stopped,
    /// When the process is asked to stop, and the plugin is taken out.
    TakenOut,
    /// When the process is asked to stop; until then the plugin is kept out.
    KeptOut,
}

impl Install {
    pub(crate) fn conf_dir(&self) -> &Path {
        &self.folders.conf_dir
    }

    pub(crate) fn bin_dir(&self) -> &Path {
        &self.folders.bin_dir
    }

    /// The binary that is installed.
    pub(crate) fn binary(&self) -> PathBuf {
        let beside = || {
            let own = std::env::current_exe().unwrap_or_default();
            own.with_file_name(PLUGIN)
        };
        self.binary.clone().unwrap_or_else(beside)
    }

    pub(crate) fn choice(&self) -> Choice {
        match (&self.conf_file, &self.network) {
            (Some(file), _) => Choice::File(file.clone()),
            (None, Some(network)) => Choice::Network(network.clone()),
            (None, None) => Choice::First,
        }
    }

    pub(crate) fn entry(&self) -> PluginEntry {
        PluginEntry {
            socket: self.socket.clone(),
            timeout: Duration::from_millis(self.timeout_ms.into()),
            on_timeout: self.on_timeout,
            log: self.plugin_log.clone(),
        }
    }

    /// Returns true if it is only to be told how it is.
    pub(crate) const fn is_probe(&self) -> bool {
        self.probe
    }

    pub(crate) fn until(&self) -> UntilWhen {
        match (self.absent, self.once, self.uninstall_on_exit) {
            (true, ..) => UntilWhen::KeptOut,
            (false, true, _) => UntilWhen::Installed,
            (false, false, true) => UntilWhen::TakenOut,
            (false, false, false) => UntilWhen::Stopped,
        }
    }
}

impl Uninstall {
    pub(crate) fn conf_dir(&self) -> &Path {
        &self.folders.conf_dir
    }

    /// The folder that the binary is removed from, where it is.
    pub(crate) fn removed_from(&self) -> Option<&Path> {
        self.remove_binary.then_some(self.folders.bin_dir.as_path())
    }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("expected an absolute path".to_owned()) }
}

fn socket(text: &str) -> Result<PathBuf, String> {
    if text.len() > LONGEST_SOCKET {
        return Err(format!("expected a path of at most {LONGEST_SOCKET} bytes"));
    }
    absolute(text)
}

fn file_name(text: &str) -> Result<String, String> {
    if text.contains('/') { Err("expected a name without /".to_owned()) } else { Ok(text.to_owned()) }
}
