//! The command line and its environment variables.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, value_parser};
use flock_nft::read::GRAMMAR;
use flock_shared::NodeName;
use flock_version::Version;

use crate::authorities::CaRefresh;
use crate::check::{self, Check};
use crate::child::Program;
use crate::facts::Mode;
use crate::health::HealthListen;
use crate::install;
use crate::nft::Nft;
use crate::restore::Restore;
use crate::run::Config;
use crate::runner::Until;
use flock_shared::dial::{CompilerUrl, Trust};

const LONGEST: f64 = 86_400.0;

/// What `--version` says.
static VERSION: LazyLock<String> =
    LazyLock::new(|| Version::of_this_build(&[("grammar", GRAMMAR)]).to_string());

/// Applies the nftables ruleset that the compiler streams for this node.
#[derive(Debug, Parser)]
#[command(name = "flock-node-agent", version = VERSION.as_str())]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Options {
    #[command(subcommand)]
    install: Option<install::Command>,

    /// Name of this node (Node.metadata.name)
    #[arg(long, env = "FLOCK_NODE", value_name = "NAME")]
    node: Option<NodeName>,

    /// Where the compiler listens; plain text (http://) on loopback only. Several, with commas, are replicas: when one
    /// fails, the next is called
    #[arg(long, env = "FLOCK_COMPILER", value_name = "URL", value_delimiter = ',')]
    compiler: Vec<CompilerUrl>,

    /// The certificates of the compiler's authorities, PEM, for https://; read again for each connection
    #[arg(long, env = "FLOCK_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// What to do while --ca-file is missing or empty: wait for it, or exit once the compiler shows a certificate. A container
    /// that ends is started again with its volumes refreshed, which otherwise takes kubelet a minute; on a host nobody may
    /// start it again
    #[arg(long, env = "FLOCK_CA_REFRESH", value_name = "wait|exit", value_enum, default_value = "wait")]
    ca_refresh: CaRefresh,

    /// The service account token that is shown to the compiler over https://; read again for each connection
    #[arg(long, env = "FLOCK_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The name that the compiler's certificate is for, if it is not the host of the URL
    #[arg(long, env = "FLOCK_SERVER_NAME", value_name = "NAME", requires = "ca_file")]
    server_name: Option<String>,

    /// How nft is run: a command with arguments, such as 'ip netns exec n1 nft'
    #[arg(long, env = "FLOCK_NFT", value_name = "COMMAND", default_value = "nft")]
    nft: Program,

    /// Keep the newest ruleset in this folder, and apply it at start before the compiler is called
    #[arg(long, env = "FLOCK_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Relay the calls of the CNI plugin, which come to a socket here
    #[arg(long, env = "FLOCK_CNI_SOCKET", value_name = "PATH")]
    cni_socket: Option<PathBuf>,

    /// Where probes are answered, on loopback: /healthz (the agent runs) and /readyz (the node enforces what it should); none
    /// switches it off
    #[arg(long, env = "FLOCK_HEALTH_LISTEN", value_name = "ADDR|none", default_value = "127.0.0.1:7445")]
    health_listen: HealthListen,

    /// Apply one update, then exit: 0 if it is in place, 1 if not
    #[arg(long, env = "FLOCK_ONCE")]
    once: bool,

    /// Remove the table from the kernel and, if --state-dir is given, the ruleset saved there, then exit
    #[arg(long, env = "FLOCK_UNINSTALL")]
    uninstall: bool,

    /// Put the ruleset that is saved in --state-dir in place, then exit: 0 if it is, or if there is nothing to do, which is
    /// said, 1 if not. For a node that starts, before its pods do: needs no compiler, and no --node
    #[arg(long, env = "FLOCK_RESTORE", conflicts_with_all = ["once", "uninstall"])]
    restore: bool,

    /// Look whether this node has what enforcement needs, what passes it by, and who else enforces; change nothing, then exit:
    /// 0 if all is well, 1 if something is not. Needs no compiler, and no --node
    #[arg(long, env = "FLOCK_CHECK", conflicts_with_all = ["once", "uninstall", "restore"])]
    check: bool,

    /// How --check prints what it found
    #[arg(short, long, env = "FLOCK_OUTPUT", value_name = "table|json", value_enum, default_value = "table")]
    output: check::Format,

    /// Where --check looks for configurations of CNI
    #[arg(long, env = "FLOCK_CNI_CONF_DIR", value_name = "DIR", default_value = install::CONF_DIR)]
    cni_conf_dir: PathBuf,

    /// Where --check looks for plugins of CNI
    #[arg(long, env = "FLOCK_CNI_BIN_DIR", value_name = "DIR", default_value = install::BIN_DIR)]
    cni_bin_dir: PathBuf,

    /// How long --restore may take in all
    #[arg(long, env = "FLOCK_RESTORE_TIMEOUT", value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    restore_timeout: Duration,

    /// What is logged, such as info or flock_node_agent=debug
    #[arg(long, env = "FLOCK_LOG", value_name = "FILTER", default_value = "info", global = true)]
    log: String,

    /// How long nft may take for one script
    #[arg(long, env = "FLOCK_NFT_TIMEOUT", value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    nft_timeout: Duration,

    /// How much memory nft may have, in MiB
    #[arg(long, env = "FLOCK_NFT_MEMORY", value_name = "MIB", default_value = "512", value_parser = value_parser!(u32).range(16..))]
    nft_memory: u32,

    /// What to do where frames of bridges that pods may hang on are not shown to the rules: say so, or show them
    /// (net.bridge.bridge-nf-call-iptables and -ip6tables)
    #[arg(long, env = "FLOCK_BRIDGE_NF", value_name = "check|set", value_enum, default_value = "check")]
    bridge_nf: Mode,

    /// How often to look whether the table is still in place, and at the node
    #[arg(long, env = "FLOCK_CHECK_INTERVAL", value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    check_interval: Duration,
}

/// What the process is to do.
#[derive(Debug, Clone)]
pub enum Task {
    /// Enforce what the compiler sends.
    Run(Config),
    /// Remove the table, and the saved ruleset where there may be one.
    Uninstall {
        /// Removes the table.
        nft: Nft,
        /// The folder of the saved ruleset.
        state_dir: Option<PathBuf>,
    },
    /// Put the saved ruleset in place.
    Restore(Restore),
    /// Look at the node.
    Check(Box<Check>),
    /// Install what the node runs, or take it out.
    Install(install::Command),
}

impl Options {
    /// The log filter.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.log
    }

    /// What the process is to do.
    ///
    /// # Errors
    /// When an option is missing that the task needs.
    pub fn task(self) -> Result<Task, clap::Error> {
        if let Some(command) = self.install {
            return Ok(Task::Install(command));
        }
        let nft_memory = u64::from(self.nft_memory) << 20;
        let nft = Nft::new(self.nft.within(nft_memory), self.nft_timeout);
        if self.check {
            return Ok(Task::Check(Box::new(Check {
                node: self.node,
                nft,
                nft_memory,
                state_dir: self.state_dir,
                bridge_nf: self.bridge_nf,
                cni_conf_dir: self.cni_conf_dir,
                cni_bin_dir: self.cni_bin_dir,
                takes_cni_calls: self.cni_socket.is_some(),
                format: self.output,
            })));
        }
        if self.uninstall {
            return Ok(Task::Uninstall { nft, state_dir: self.state_dir });
        }
        let missing = |option: &str| {
            let message = format!("{option} is required, unless --check, --restore or --uninstall is given");
            Self::command().error(ErrorKind::MissingRequiredArgument, message)
        };
        if self.restore {
            let message = "--restore needs --state-dir DIR, where the ruleset is saved";
            let nowhere = || Self::command().error(ErrorKind::MissingRequiredArgument, message);
            let state_dir = self.state_dir.ok_or_else(nowhere)?;
            return Ok(Task::Restore(Restore {
                node: self.node,
                state_dir,
                nft,
                within: self.restore_timeout,
            }));
        }
        let node = self.node.ok_or_else(|| missing("--node NAME"))?;
        if self.compiler.is_empty() {
            return Err(missing("--compiler URL"));
        }
        let trust = self.ca_file.map(|ca_file| Trust { ca_file, server_name: self.server_name });
        if trust.is_none()
            && let Some(url) = self.compiler.iter().find(|url| !url.is_plaintext())
        {
            let message =
                format!("--compiler {url} needs --ca-file FILE, to know the compiler by its certificate");
            return Err(Self::command().error(ErrorKind::MissingRequiredArgument, message));
        }
        Ok(Task::Run(Config {
            node,
            compilers: self.compiler,
            trust,
            token_file: self.token_file,
            nft,
            state_dir: self.state_dir,
            check_interval: self.check_interval,
            bridge_nf: self.bridge_nf,
            cni_socket: self.cni_socket,
            health_listen: self.health_listen,
            ca_refresh: self.ca_refresh,
            until: if self.once { Until::FirstUpdate } else { Until::Stopped },
        }))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= LONGEST => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("expected a number of seconds above 0, at most {LONGEST}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(arguments: &[&str]) -> Result<Task, ErrorKind> {
        let arguments = std::iter::once("flock-node-agent").chain(arguments.iter().copied());
        Options::try_parse_from(arguments).and_then(Options::task).map_err(|error| error.kind())
    }

    #[test]
    fn options_are_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn a_node_and_a_compiler_make_a_run() {
        let options = ["--once", "--check-interval", "0.5", "--cni-socket", "/run/flock/cni.sock"];
        let made = task(&[&["--node", "n1", "--compiler", "http://127.0.0.1:1"], &options[..]].concat());
        let Ok(Task::Run(config)) = made else { panic!("{made:?}") };
        assert_eq!((config.node.as_str(), config.until), ("n1", Until::FirstUpdate));
        assert_eq!((config.check_interval, config.bridge_nf), (Duration::from_millis(500), Mode::Check));
        assert_eq!(
            (config.health_listen.to_string().as_str(), config.ca_refresh),
            ("127.0.0.1:7445", CaRefresh::Wait)
        );
        assert_eq!(config.cni_socket.as_deref(), Some(flock_shared::cni::SOCKET.as_ref()));
    }

    #[test]
    fn replicas_are_given_together_or_one_by_one() {
        for arguments in [
            &["--node", "n1", "--compiler", "http://127.0.0.1:1,http://127.0.0.1:2"][..],
            &["--node", "n1", "--compiler", "http://127.0.0.1:1", "--compiler", "http://127.0.0.1:2"],
        ] {
            let made = task(arguments);
            let Ok(Task::Run(config)) = made else { panic!("{made:?}") };
            let urls: Vec<String> = config.compilers.iter().map(ToString::to_string).collect();
            assert_eq!(urls, ["http://127.0.0.1:1/", "http://127.0.0.1:2/"]);
        }
    }

    #[test]
    fn uninstalling_needs_neither() {
        assert!(matches!(task(&["--uninstall"]), Ok(Task::Uninstall { state_dir: None, .. })));
        assert_eq!(task(&["--node", "n1"]).unwrap_err(), ErrorKind::MissingRequiredArgument);
        let compiler_only = task(&["--compiler", "http://127.0.0.1:1"]);
        assert_eq!(compiler_only.unwrap_err(), ErrorKind::MissingRequiredArgument);
    }

    #[test]
    fn restoring_needs_a_folder_only() {
        let made = task(&["--restore", "--state-dir", "/s"]);
        let Ok(Task::Restore(what)) = made else { panic!("{made:?}") };
        assert_eq!((what.node, what.within), (None, Duration::from_secs(20)));
        assert_eq!(task(&["--restore"]).unwrap_err(), ErrorKind::MissingRequiredArgument);
        for other in ["--once", "--uninstall"] {
            let refused = task(&["--restore", "--state-dir", "/s", other]).unwrap_err();
            assert_eq!(refused, ErrorKind::ArgumentConflict, "{other}");
        }
    }

    #[test]
    fn checking_needs_nothing() {
        let Ok(Task::Check(check)) = task(&["--check"]) else { panic!("no check") };
        assert_eq!((check.node, check.format, check.takes_cni_calls), (None, check::Format::Table, false));
        let options = ["--check", "-o", "json", "--node", "n1", "--bridge-nf", "set", "--cni-conf-dir", "/c"];
        let Ok(Task::Check(check)) = task(&options) else { panic!("no check") };
        assert_eq!(
            (check.node.unwrap().as_str(), check.format, check.bridge_nf),
            ("n1", check::Format::Json, Mode::Set)
        );
        assert_eq!(check.cni_conf_dir, PathBuf::from("/c"));
        for other in ["--once", "--uninstall", "--restore"] {
            assert_eq!(task(&["--check", other]).unwrap_err(), ErrorKind::ArgumentConflict, "{other}");
        }
        assert_eq!(task(&["--check", "-o", "yaml"]).unwrap_err(), ErrorKind::InvalidValue);
    }

    #[test]
    fn refusals() {
        let valid = ["--node", "n1", "--compiler", "http://127.0.0.1:1"];
        for (option, value) in [
            ("--node", "N 1"),
            ("--compiler", "http://10.0.0.1:1"),
            ("--compiler", "https://compiler:1"),
            ("--server-name", "compiler"),
            ("--nft", "nft 'x"),
            ("--nft", ""),
            ("--nft-timeout", "0"),
            ("--nft-timeout", "NaN"),
            ("--nft-memory", "15"),
            ("--nft-memory", "x"),
            ("--restore-timeout", "0"),
            ("--check-interval", "inf"),
            ("--check-interval", "-1"),
            ("--bridge-nf", "off"),
            ("--health-listen", "0.0.0.0:7445"),
            ("--health-listen", "off"),
            ("--ca-refresh", "restart"),
        ] {
            let given = format!("{option}={value}");
            let mut arguments: Vec<&str> =
                valid.chunks(2).filter(|pair| pair[0] != option).flatten().copied().collect();
            arguments.push(&given);
            assert!(task(&arguments).is_err(), "{given}");
        }
    }
}
