//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Pods of this image are the ones whose packets are looked at. Kubernetes' own tests of NetworkPolicy use it: its `connect`
/// tells a packet that was dropped from one that was refused, and its `netexec` serves TCP and UDP of either family without a
/// shell. Busybox's nc does neither.
const IMAGE: &str = "registry.k8s.io/e2e-test-images/agnhost:2.53";

/// Checks on a cluster, with packets of pods that it makes, that network policies are enforced. Everything that it made is
/// deleted at the end, also after Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "flock-e2e", version)]
#[command(
    after_help = "Exit status: 0 all checks passed, 1 one failed, 2 they could not be made, 130 after Ctrl-C."
)]
pub(crate) struct Options {
    /// The cluster; else $KUBECONFIG, ~/.kube/config or the cluster that this runs in
    #[arg(long, env = "FLOCK_KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig; else its current one
    #[arg(long, env = "FLOCK_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,

    /// The image of the pods: one with /agnhost, which needs to have connect, netexec and pause
    #[arg(long, env = "FLOCK_E2E_IMAGE", value_name = "IMAGE", default_value = IMAGE)]
    pub(crate) image: String,

    /// Two nodes to use, or one; else two that are ready and take pods
    #[arg(long, env = "FLOCK_E2E_NODES", value_name = "NAME,NAME", value_delimiter = ',')]
    pub(crate) nodes: Vec<String>,

    /// Make these checks only
    #[arg(long, env = "FLOCK_E2E_ONLY", value_name = "CHECK,…", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// How long pods may take to run, images included
    #[arg(long, env = "FLOCK_E2E_START_TIMEOUT", value_name = "SECONDS", default_value = "180", value_parser = seconds)]
    pub(crate) start_timeout: Duration,

    /// How long a policy may take to be enforced
    #[arg(long, env = "FLOCK_E2E_TIMEOUT", value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) timeout: Duration,

    /// Write a report in JUnit's format
    #[arg(long, env = "FLOCK_E2E_JUNIT", value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,

    /// Stand in for kubelets: pods are network namespaces of this machine, on two nodes that are made; a compiler and agents
    /// are started beside them. Needs root, nft, and an API server: that of --kubeconfig, or without it one in this process
    #[arg(long, env = "FLOCK_E2E_SIMULATE")]
    pub(crate) simulate: bool,

    /// Where the compiler and the agent are that --simulate starts; else beside this program
    #[arg(long, env = "FLOCK_E2E_PROGRAMS", value_name = "DIR", requires = "simulate")]
    pub(crate) programs: Option<PathBuf>,

    /// With --simulate, how long the cluster stays for a look at it before anything is checked
    #[arg(long, env = "FLOCK_E2E_HOLD", value_name = "SECONDS", default_value = "0", requires = "simulate", value_parser = whole)]
    pub(crate) hold: Duration,

    /// Name the checks, and make none
    #[arg(long)]
    pub(crate) list: bool,
}

fn whole(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|_| "expected a number of seconds".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    match whole(text) {
        Ok(time) if !time.is_zero() && time <= Duration::from_hours(1) => Ok(time),
        _ => Err("expected a number of seconds from 1 to 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn options_are_consistent() {
        Options::command().debug_assert();
        for wrong in ["--timeout=0", "--timeout=3601", "--programs=/x", "--hold=1"] {
            assert!(Options::try_parse_from(["flock-e2e", wrong]).is_err(), "{wrong}");
        }
    }
}
