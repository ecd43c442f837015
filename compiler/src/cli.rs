//! The command line of `flock-compiler`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use flock_compiler_core::nft::read::GRAMMAR;
use flock_compiler_core::revision::LAYOUT_VERSION;
use flock_compiler_core::world::Trust;
use flock_compiler_core::{KeepDrops, UnreadyPods};
use flock_shared::{NamespaceName, NodeName, access};
use flock_version::Version;

use crate::access::ServiceAccount;
use flock_convert::HostInterfaces;

/// The longest that CNI ADD may be held for others.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What `--version` says.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let numbers = [("layout", LAYOUT_VERSION.into()), ("grammar", GRAMMAR)];
    Version::of_this_build(&numbers).to_string()
});

/// Translates Kubernetes network policies into one nftables script per node.
#[derive(Debug, Parser)]
#[command(name = "flock-compiler", version = VERSION.as_str(), disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What to log: a level, or `crate=level` pairs.
    #[arg(long, global = true, env = "FLOCK_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// How to log.
    #[arg(long, global = true, env = "FLOCK_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the full script of one node to standard output.
    Render(Render),
    /// Follow a cluster and stream every node's script to its agent.
    Serve(Box<Serve>),
    /// Prove a receipt: that objects ask for what nodes have acknowledged. Exits with 0 if that is proven, 1 if not, 2 if the
    /// input is bad.
    Verify(Verify),
}

/// Options of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The objects of that time: a file, a directory, or `-` for standard input, as `kubectl get … -o yaml` prints them.
    #[arg(long, env = "FLOCK_MANIFESTS", value_name = "PATH")]
    pub manifests: PathBuf,
    /// The receipt, as `kubectl flock receipt` prints it.
    #[arg(long, env = "FLOCK_RECEIPT", value_name = "FILE")]
    pub receipt: PathBuf,
}

/// Options of `render`.
#[derive(Debug, Args)]
pub struct Render {
    /// A file, a directory, or `-` for standard input: YAML or JSON, as `kubectl get … -o yaml` prints it.
    #[arg(long, env = "FLOCK_MANIFESTS", value_name = "PATH")]
    pub manifests: PathBuf,
    /// The node to render.
    #[arg(long, env = "FLOCK_NODE", value_name = "NAME")]
    pub node: NodeName,
    /// Render also when some object is not understood; what a policy selects that is not is isolated.
    #[arg(long, env = "FLOCK_ALLOW_INVALID")]
    pub allow_invalid: bool,
    /// Render also when there are workloads (Deployments and so on), which are ignored, and not one Pod.
    #[arg(long, env = "FLOCK_ALLOW_IGNORED")]
    pub allow_ignored: bool,
    /// Print the closed form instead: what a node gets that refuses its script. Whoever is isolated is denied everything.
    #[arg(long, env = "FLOCK_CLOSED")]
    pub closed: bool,
    /// How pods' host interfaces are found.
    #[command(flatten)]
    pub interfaces: Interfaces,
    /// What happens to pods whose addresses are not known yet.
    #[command(flatten)]
    pub unready: Unready,
    /// What is taken down of what policies deny.
    #[command(flatten)]
    pub dropped: Dropped,
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// A directory of manifests to follow, instead of a Kubernetes API server.
    #[arg(long, env = "FLOCK_MANIFESTS", value_name = "DIR", conflicts_with = "kubeconfig")]
    pub manifests: Option<PathBuf>,
    /// The kubeconfig of the cluster to follow; without it and `--manifests`: in-cluster, or as kubectl finds it.
    #[arg(long, env = "FLOCK_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Where to serve gRPC; beyond loopback with TLS, to those whose tokens the API server vouches for.
    #[arg(long, env = "FLOCK_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:7443", value_parser = address)]
    pub listen: SocketAddr,
    /// Where to serve metrics and probes; beyond loopback with TLS, the metrics to those who may read them.
    #[arg(long, env = "FLOCK_ADMIN_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:7444", value_parser = address)]
    pub admin_listen: SocketAddr,
    /// How callers are known.
    #[command(flatten)]
    pub security: Security,
    /// How pods' host interfaces are found.
    #[command(flatten)]
    pub interfaces: Interfaces,
    /// What happens to pods whose addresses are not known yet.
    #[command(flatten)]
    pub unready: Unready,
    /// What is taken down of what policies deny.
    #[command(flatten)]
    pub dropped: Dropped,
    /// How long CNI ADD is held at most for other nodes than the pod's own to open to it, such as 100ms.
    #[arg(long, env = "FLOCK_ATTACH_WAIT", value_name = "TIME", default_value = "100ms", value_parser = time)]
    pub attach_wait: Duration,
    /// How often everything is translated from nothing and compared with what is published, such as 5m; 0s: this compiler
    /// does not check itself.
    #[arg(long, env = "FLOCK_SELF_CHECK_INTERVAL", value_name = "TIME", default_value = "5m", value_parser = period)]
    pub self_check_interval: Duration,
    /// `on` or `off`: whether what was translated first is checked before this replica says that it is ready, for 20 s at most.
    #[arg(
        long,
        env = "FLOCK_SELF_CHECK_AT_START",
        value_name = "on|off",
        value_enum,
        default_value = "on",
        hide_possible_values = true
    )]
    pub self_check_at_start: Switch,
    /// Tell by Kubernetes Events of NetworkPolicies that are not understood, that select nothing, and that have come into force.
    #[arg(long, env = "FLOCK_POLICY_EVENTS", conflicts_with = "manifests")]
    pub policy_events: bool,
}

/// How callers are known.
#[derive(Debug, Args)]
pub struct Security {
    /// When to speak TLS and ask for tokens: `auto` is beyond loopback.
    #[arg(long, env = "FLOCK_TLS", value_name = "WHEN", value_enum, default_value = "auto")]
    pub tls: Tls,
    /// A folder with tls.crt and tls.key, followed as they change; without it the compiler makes its own certificates.
    #[arg(long, env = "FLOCK_TLS_DIR", value_name = "DIR")]
    pub tls_dir: Option<PathBuf>,
    /// What the compiler's own certificate is for, with commas; default: the names of the Service flock-compiler.
    #[arg(long, env = "FLOCK_TLS_NAMES", value_name = "NAME", value_delimiter = ',')]
    pub tls_names: Vec<String>,
    /// The namespace of the compiler: of its Secret, its ConfigMap and the agents' ServiceAccount.
    #[arg(long, env = "FLOCK_NAMESPACE", value_name = "NAMESPACE", default_value = access::NAMESPACE)]
    pub namespace: NamespaceName,
    /// What tokens must be for.
    #[arg(long, env = "FLOCK_AUDIENCE", value_name = "AUDIENCE", default_value = access::AUDIENCE, value_parser = NonEmptyStringValueParser::new())]
    pub audience: String,
    /// Whose tokens are agents'; default: flock-node-agent in the namespace of the compiler.
    #[arg(long, env = "FLOCK_AGENT_ACCOUNT", value_name = "NAMESPACE/NAME")]
    pub agent_account: Option<ServiceAccount>,
}

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// When TLS is spoken and tokens are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tls {
    /// Beyond loopback.
    Auto,
    /// Always.
    On,
}

impl Interfaces {
    /// What is believed of what CNI says.
    #[must_use]
    pub fn trust(&self) -> Trust {
        Trust { any_address: self.attach_any_address, interfaces: self.host_iface == HostInterfaces::Cni }
    }
}

impl Serve {
    /// Returns true if what listens at `address` speaks TLS and asks for tokens.
    #[must_use]
    pub fn is_secured(&self, address: SocketAddr) -> bool {
        let Security { tls, tls_dir, .. } = &self.security;
        *tls == Tls::On || tls_dir.is_some() || !address.ip().is_loopback()
    }

    /// Refuses what goes with no option by itself, but not together.
    ///
    /// # Errors
    /// An error that names the options.
    pub fn check(&self) -> Result<(), clap::Error> {
        let secured = [("--listen", self.listen), ("--admin-listen", self.admin_listen)];
        let secured = secured.into_iter().find(|(_, address)| self.is_secured(*address));
        match secured {
            Some((option, address)) if self.manifests.is_some() => {
                let message = format!(
                    "{option} {address}: with --manifests there is no API server that could vouch for anybody's token, \
                     so it serves in plain text and on loopback only (127.0.0.1, [::1] or localhost)"
                );
                Err(Cli::command().error(ErrorKind::ArgumentConflict, message))
            }
            _ => Ok(()),
        }
    }
}

/// How pods' host interfaces are found.
#[derive(Debug, Args)]
pub struct Interfaces {
    /// `cni` (what CNI's plugin reported, where it is), `none`, `sha1:PREFIX` (as Calico `cali`, Azure `azv`, AWS `eni`,
    /// GKE `gke`) or `annotation:KEY`.
    #[arg(long, env = "FLOCK_HOST_IFACE", value_name = "SCHEME", default_value = "cni")]
    pub host_iface: HostInterfaces,
    /// Believe CNI's plugin also where it says that a pod has an address outside of its node's pod CIDRs: for CNIs whose
    /// addresses do not follow them.
    #[arg(long, env = "FLOCK_ATTACH_ANY_ADDRESS")]
    pub attach_any_address: bool,
}

/// What happens to pods whose addresses are not known yet.
#[derive(Debug, Args)]
pub struct Unready {
    /// `drop`, `expected` or `allow`: what happens to an address in a node's pod CIDRs that no known pod owns yet.
    #[arg(long, env = "FLOCK_UNREADY_PODS", value_name = "drop|expected|allow", default_value_t)]
    pub unready_pods: UnreadyPods,
}

/// What is taken down of what policies deny.
#[derive(Debug, Args)]
pub struct Dropped {
    /// `on` or `off`: whether nodes take down which flows policies deny there, for `flockctl drops`. Every replica has to
    /// have the same.
    #[arg(long, env = "FLOCK_DROPS", value_name = "on|off", default_value_t)]
    pub drops: KeepDrops,
}

/// A number of seconds, minutes or hours.
fn period(text: &str) -> Result<Duration, String> {
    let seconds = [("s", 1), ("m", 60), ("h", 3600)].into_iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(seconds)
    });
    seconds.map(Duration::from_secs).ok_or_else(|| format!("{text:?}: expected a time like 30s, 5m or 1h"))
}

/// A number of milliseconds or seconds, at most a minute.
fn time(text: &str) -> Result<Duration, String> {
    let millis = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => number.parse::<u64>().ok(),
        (None, Some(number)) => number.parse::<u64>().ok().and_then(|seconds| seconds.checked_mul(1000)),
        (None, None) => None,
    };
    let time = millis.map(Duration::from_millis).filter(|time| *time <= LONGEST_WAIT);
    time.ok_or_else(|| "expected a time of at most a minute, such as 100ms or 1s".to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let with_localhost = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    with_localhost.as_deref().unwrap_or(text).parse().map_err(|_| "expected ADDRESS:PORT".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(options: &[&str]) -> Serve {
        let arguments = ["flock-compiler", "serve"].iter().chain(options);
        match Cli::try_parse_from(arguments).unwrap().command {
            Command::Serve(serve) => *serve,
            Command::Render(_) | Command::Verify(_) => panic!("{options:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_address_has_a_port() {
        for refused in ["example.com:1", "127.0.0.1", ":1", ""] {
            assert!(address(refused).is_err(), "{refused}");
        }
        for accepted in ["127.0.0.1:0", "[::1]:0", "localhost:80", "0.0.0.0:1", "[::]:1"] {
            assert!(address(accepted).is_ok(), "{accepted}");
        }
    }

    #[test]
    fn a_time_has_a_unit() {
        for (text, millis) in [("100ms", 100), ("0ms", 0), ("2s", 2000), ("60s", 60_000)] {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for refused in ["", "100", "ms", "-1s", "1.5s", "61s", "1m", "99999999999999999999s"] {
            assert!(time(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn plain_text_stays_on_loopback() {
        let secured = |options: &[&str]| {
            let serve = serve(options);
            serve.is_secured(serve.listen)
        };
        for listen in ["127.0.0.1:0", "127.1.2.3:5", "[::1]:0", "localhost:80"] {
            assert!(!secured(&["--listen", listen]), "{listen}");
            assert!(secured(&["--listen", listen, "--tls", "on"]), "{listen}");
            assert!(secured(&["--listen", listen, "--tls-dir", "/x"]), "{listen}");
        }
        for listen in ["0.0.0.0:1", "10.0.0.1:1", "[::]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(secured(&["--listen", listen]), "{listen}");
        }
    }

    #[test]
    fn manifests_are_served_on_loopback_only() {
        assert!(serve(&["--manifests", "/x"]).check().is_ok());
        for options in [&["--listen", "0.0.0.0:1"], &["--admin-listen", "0.0.0.0:1"], &["--tls", "on"]] {
            assert!(serve(options).check().is_ok(), "{options:?}");
            let refused = serve(&[&["--manifests", "/x"], &options[..]].concat()).check().unwrap_err();
            assert_eq!(
                (refused.kind(), refused.exit_code()),
                (ErrorKind::ArgumentConflict, 2),
                "{options:?}"
            );
        }
    }
}
