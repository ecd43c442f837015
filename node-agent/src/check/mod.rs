//! The preflight of a node (`--check`): what enforcement needs, what passes it by, and who else enforces. It changes nothing.
//!
//! ```text
//! look (here, or in place of nft) ─┐
//! features, trial: nft -c ─────────┼─▶ Seen ─▶ judge (pure) ─▶ Report ─▶ table or JSON
//! facts ───────────────────────────┘
//! ```

mod features;
mod finding;
mod judge;
mod look;
mod seen;
mod traces;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::ValueEnum;
use flock_shared::NodeName;

use crate::child::Program;
use crate::facts::{self, Mode};
use crate::nft::Nft;
use crate::trial;

pub use finding::{Finding, Report, State};
pub use look::{LOOK, look_in_place};

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Check {
    /// The node, for the report.
    pub node: Option<NodeName>,
    /// How nft is run.
    pub nft: Nft,
    /// How much memory it may have, in bytes.
    pub nft_memory: u64,
    /// The state folder, if the agent is to have one.
    pub state_dir: Option<PathBuf>,
    /// What the agent would do about bridges.
    pub bridge_nf: Mode,
    /// Where CNI's configurations are looked for.
    pub cni_conf_dir: PathBuf,
    /// Where CNI's plugins are looked for.
    pub cni_bin_dir: PathBuf,
    /// Whether the agent would take calls of the CNI plugin.
    pub takes_cni_calls: bool,
    /// How the report is printed.
    pub format: Format,
}

/// Looks at the node. Whatever cannot be seen is told in the report.
pub async fn run(check: &Check) -> Report {
    let seen = look(check).await;
    Report::new(check.node.as_ref().map(ToString::to_string), judge::judge(&seen))
}

/// Who else enforces NetworkPolicy where `nft` works, or has left rules behind, as far as it is seen from here.
///
/// # Errors
/// In words, when it cannot be looked there.
pub(crate) async fn enforcers(nft: &Program) -> Result<BTreeSet<String>, String> {
    let network = look::network(nft).await?;
    let (processes, bpf) = (look::processes().unwrap_or_default(), look::bpf().unwrap_or_default());
    let found = traces::found(&network.netfilter.unwrap_or_default(), &network.devices, &processes, &bpf);
    let enforcing = found.into_iter().filter(|it| it.strength == traces::Strength::Enforces);
    Ok(enforcing.map(|it| it.enforcer.name().to_owned()).collect())
}

async fn look(check: &Check) -> seen::Seen {
    let nft = &check.nft;
    let version = nft.version().await.map_err(|error| error.to_string());
    let features = match &version {
        Ok(_) => features::tried(nft).await.map_err(|error| error.to_string()),
        Err(_) => Err("there is no nft".to_owned()),
    };
    let is_all =
        |tried: &Vec<(_, features::Tried)>| tried.iter().all(|(_, it)| *it == features::Tried::Taken);
    let refused = match &features {
        Ok(tried) if is_all(tried) => match trial::run(nft).await {
            Ok(trial) => trial.refused,
            Err(error) => vec![error.to_string()],
        },
        _ => Vec::new(),
    };
    seen::Seen {
        nft: version,
        privileges: look::privileges(),
        kernel: look::kernel(),
        features,
        refused,
        network: look::network(nft.program()).await,
        // A preflight says what is wrong, and sets nothing right.
        facts: facts::look_where(nft.program(), Mode::Check).await.ok(),
        bridge_nf: check.bridge_nf,
        processes: look::processes(),
        bpf: look::bpf(),
        cni: look::cni(&check.cni_conf_dir, &check.cni_bin_dir, check.takes_cni_calls),
        memory: look::memory(check.nft_memory),
        state: check.state_dir.as_ref().map(|path| (path.clone(), look::state(path))),
    }
}
