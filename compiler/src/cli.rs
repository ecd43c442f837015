//! The command line of `flock-compiler`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use flock_shared::NodeName;

use crate::convert::HostInterfaces;

/// Translates Kubernetes network policies into one nftables script per node.
#[derive(Debug, Parser)]
#[command(name = "flock-compiler", version, disable_help_subcommand = true)]
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
    Serve(Serve),
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
    /// How pods' host interfaces are found.
    #[command(flatten)]
    pub interfaces: Interfaces,
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
    /// Where to serve gRPC; loopback only, as it is not encrypted.
    #[arg(long, env = "FLOCK_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:7443", value_parser = loopback)]
    pub listen: SocketAddr,
    /// Where to serve metrics and probes; loopback only.
    #[arg(long, env = "FLOCK_ADMIN_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:7444", value_parser = loopback)]
    pub admin_listen: SocketAddr,
    /// How pods' host interfaces are found.
    #[command(flatten)]
    pub interfaces: Interfaces,
}

/// How pods' host interfaces are found.
#[derive(Debug, Args)]
pub struct Interfaces {
    /// `none`, `sha1:PREFIX` (as Calico `cali`, Azure `azv`, AWS `eni`, GKE `gke`) or `annotation:KEY`.
    #[arg(long, env = "FLOCK_HOST_IFACE", value_name = "SCHEME", default_value = "none")]
    pub host_iface: HostInterfaces,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let with_localhost = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let address: SocketAddr =
        with_localhost.as_deref().unwrap_or(text).parse().map_err(|_| "expected ADDRESS:PORT".to_owned())?;
    let loopback = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    if loopback {
        Ok(address)
    } else {
        Err("plaintext listens on loopback only: use 127.0.0.1, [::1] or localhost".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn plaintext_beyond_loopback_is_refused() {
        for refused in ["0.0.0.0:1", "10.0.0.1:1", "[::]:1", "example.com:1", "127.0.0.1"] {
            assert!(loopback(refused).is_err(), "{refused}");
        }
        for accepted in ["127.0.0.1:0", "127.1.2.3:5", "[::1]:0", "localhost:80"] {
            assert!(loopback(accepted).is_ok(), "{accepted}");
        }
    }
}
