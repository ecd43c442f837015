//! What a preflight sees of a node, as values.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use flock_proto::NodeFacts;
use serde::{Deserialize, Serialize};

use super::features::{Feature, Tried};
use super::traces::Netfilter;
use crate::facts::Mode;
use crate::install::select::File;

/// Everything that was seen.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The first line of `nft --version`, or why there is none.
    pub(super) nft: Result<String, String>,
    /// Who this process is.
    pub(super) privileges: Privileges,
    /// The kernel's release.
    pub(super) kernel: String,
    /// What became of each feature, or why none was tried.
    pub(super) features: Result<Vec<(&'static Feature, Tried)>, String>,
    /// Statements of scripts that nft refuses, in its words, where all features are there.
    pub(super) refused: Vec<String>,
    /// The network namespace in which nft works, or why it was not seen.
    pub(super) network: Result<Network, String>,
    /// The facts that an agent would tell of it.
    pub(super) facts: Option<NodeFacts>,
    /// What the agent would do about bridges.
    pub(super) bridge_nf: Mode,
    /// The names of processes; `None`: those of the node are not to be seen from here.
    pub(super) processes: Option<BTreeSet<String>>,
    /// Names below `/sys/fs/bpf`, two levels deep; `None`: it is not mounted here.
    pub(super) bpf: Option<BTreeSet<String>>,
    /// CNI's configuration.
    pub(super) cni: Cni,
    /// Memory.
    pub(super) memory: Memory,
    /// The state folder; `None`: none was named.
    pub(super) state: Option<(PathBuf, StateFolder)>,
}

/// Who a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Privileges {
    /// Its effective user.
    pub(super) uid: u32,
    /// Whether it has CAP_NET_ADMIN; `None`: not known.
    pub(super) net_admin: Option<bool>,
}

/// A network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Network {
    /// Names of tables and chains; `None`: the kernel does not tell this process.
    pub(super) netfilter: Option<Netfilter>,
    /// The names of all devices.
    pub(super) devices: BTreeSet<String>,
    /// `net.ipv4.ip_forward`; `None`: not to be read.
    pub(super) forwarding_v4: Option<bool>,
    /// `net.ipv6.conf.all.forwarding`; `None`: there is no IPv6.
    pub(super) forwarding_v6: Option<bool>,
    /// Whether the settings of bridges can be written from where the agent is.
    pub(super) bridge_nf_writable: bool,
    /// Entries of connection tracking, and how many there may be.
    pub(super) conntrack: Option<(u64, u64)>,
    /// Tables of the former iptables, whose chains are not to be seen.
    pub(super) legacy_tables: BTreeSet<String>,
}

/// CNI's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cni {
    /// Where configurations are looked for.
    pub(super) conf_dir: PathBuf,
    /// What is there by name; `None`: there is no such folder here.
    pub(super) files: Option<BTreeMap<String, File>>,
    /// Where plugins are looked for.
    pub(super) bin_dir: PathBuf,
    /// Whether the plugin's binary is there; `None`: there is no such folder here.
    pub(super) binary: Option<bool>,
    /// Whether the agent would take calls of the plugin.
    pub(super) is_wanted: bool,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    /// What the node has free.
    pub(super) available: Option<u64>,
    /// What the agent, its nft and their kernel memory may have together; `None`: no limit.
    pub(super) limit: Option<u64>,
    /// What nft may have.
    pub(super) nft: u64,
}

/// The state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StateFolder {
    /// There is none yet.
    Missing,
    /// It is something else, or cannot be looked at.
    Unusable(String),
    /// It is there.
    There {
        /// Whose it is.
        uid: u32,
        /// The permission bits.
        mode: u32,
        /// Whether files can be made in it.
        writable: bool,
        /// Whether a ruleset is kept in it.
        kept: bool,
    },
}
