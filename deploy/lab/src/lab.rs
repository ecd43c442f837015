//! A lab: nodes on one underlay, unique names, and nothing left behind.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;

use crate::command;
use crate::error::{LabError, Result};
use crate::namespace::{DIRECTORY, Forwarding, Namespace};
use crate::node::Node;
use crate::pod::Pod;

/// What every namespace of every lab starts with; the process id follows.
const PREFIX: &str = "flock-lab-";

/// Nodes, pods and the underlay that joins the nodes. Dropping the lab stops its servers and removes its
/// namespaces, whoever still holds handles; so does a panic. A killed process leaves them to the next lab's
/// [`Lab::sweep_stale`].
#[derive(Debug)]
pub struct Lab {
    shared: Arc<Shared>,
}

/// What nodes and pods need of their lab.
#[derive(Debug)]
pub(crate) struct Shared {
    prefix: String,
    underlay: Namespace,
    topology: Mutex<Topology>,
}

/// Who exists, in order of creation.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    pub(crate) nodes: Vec<Node>,
    pub(crate) pods: Vec<Pod>,
    /// Nodes ever made: the source of underlay addresses.
    made: u16,
}

impl Lab {
    /// An empty lab. `tag` shows in the namespaces' names.
    ///
    /// # Errors
    /// When namespaces cannot be made; see [`Lab::available`].
    pub fn new(tag: &str) -> Result<Self> {
        static PREPARED: Once = Once::new();
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        PREPARED.call_once(|| {
            Self::sweep_stale();
            raise_file_limit();
        });
        let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
        let own = format!("{PREFIX}{}-{counter}-", std::process::id());
        // An earlier process may have had this id and been killed.
        remove_namespaces(|name| name.starts_with(&own));
        let prefix = format!("{own}{}-", validated(tag)?);
        let underlay = Namespace::create("underlay", format!("{prefix}underlay"), Forwarding::Host)?;
        let lab = Self { shared: Arc::new(Shared { prefix, underlay, topology: Mutex::default() }) };
        lab.shared.underlay.ip(&[
            "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0".to_owned(),
            "link set br0 up".to_owned(),
        ])?;
        Ok(lab)
    }

    /// Whether labs can be built here; the reason, as a clause for [`skipped`](crate::skipped()), where they cannot.
    ///
    /// # Errors
    /// The reason.
    pub fn available() -> Result<(), String> {
        if !geteuid().is_root() {
            return Err("needs root".to_owned());
        }
        for (program, arguments) in [("ip", "-V"), ("nft", "--version")] {
            let status =
                Command::new(program).arg(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !status.is_ok_and(|status| status.success()) {
                return Err(format!("needs the program {program}"));
            }
        }
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-available-{counter}", std::process::id());
        let made = Namespace::create("available", name.clone(), Forwarding::Router)
            .and_then(|namespace| namespace.run("nft", &["-f", "-"], "add table inet flock_lab\n"));
        remove_namespaces(|found| found == name);
        made.map(drop).map_err(|error| format!("needs network namespaces with nftables: {error}"))
    }

    /// Removes the namespaces that processes of this library left behind when they were killed.
    pub fn sweep_stale() {
        remove_namespaces(|name| owner(name).is_some_and(|pid| !is_alive(pid)));
    }

    /// Adds a node: a router on the underlay with one address of each family there, `172.18.x.y` and `fd00:18::`.
    ///
    /// # Errors
    /// When the name is taken or unusable, or the system refuses.
    pub fn node(&self, name: &str) -> Result<Node> {
        Node::create(&self.shared, name)
    }

    /// The namespace whose bridge joins the nodes.
    #[must_use]
    pub fn underlay(&self) -> &Namespace {
        &self.shared.underlay
    }

    /// What every namespace of this lab starts with, as `ip netns` lists them.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.shared.prefix
    }
}

impl Shared {
    pub(crate) fn topology(&self) -> MutexGuard<'_, Topology> {
        self.topology.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn underlay(&self) -> &Namespace {
        &self.underlay
    }

    /// Makes a namespace for a host of this lab.
    pub(crate) fn namespace(
        &self,
        topology: &Topology,
        name: &str,
        forwarding: Forwarding,
    ) -> Result<Namespace> {
        validated(name)?;
        let mut taken =
            topology.nodes.iter().map(|node| node.name()).chain(topology.pods.iter().map(|pod| pod.name()));
        if name == self.underlay.name() || taken.any(|other| other == name) {
            return Err(LabError::NameTaken { name: name.to_owned() });
        }
        Namespace::create(name, format!("{}{name}", self.prefix), forwarding)
    }
}

impl Topology {
    /// The number of the next node, counted from 1.
    pub(crate) fn next_node(&mut self) -> u16 {
        self.made += 1;
        self.made
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Handles may outlive the lab; the servers must not: their threads and sockets hold the namespaces.
        let topology = std::mem::take(&mut *self.shared.topology());
        topology.nodes.iter().for_each(|node| node.stop_serving());
        topology.pods.iter().for_each(|pod| pod.stop_serving());
        remove_namespaces(|name| name.starts_with(&self.shared.prefix));
    }
}

/// Tags and host names become namespace names, which are file names.
fn validated(name: &str) -> Result<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if (1..=60).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(name)
    } else {
        Err(LabError::Name { name: name.to_owned() })
    }
}

/// The process that a namespace's name says it belongs to.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

/// Whether a process runs: a zombie holds its id but nothing else.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state is the first field after the command's name, which may hold anything.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Removes one namespace.
pub(crate) fn remove_namespace(name: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["netns", "del", name]);
    command::run(command, "-", "").map(drop)
}

/// Removes every namespace that `doomed` picks; one that is gone already, or cannot go, is left to the next sweep.
fn remove_namespaces(doomed: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(DIRECTORY) else {
        return;
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| doomed(name)) {
        let _ = remove_namespace(&name);
    }
}

/// A matrix holds some thousand sockets at once.
fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_process() {
        assert_eq!(owner("flock-lab-4711-0-tag-web"), Some(4711));
        assert_eq!(owner("flock-lab-x-0"), None);
        assert_eq!(owner("other-4711-0"), None);
    }

    #[test]
    fn only_running_processes_are_alive() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(u32::MAX));
    }

    #[test]
    fn names_are_file_names() {
        assert!(validated("web-0.shop_1").is_ok());
        for bad in ["", "a/b", "a b", "a\n"] {
            assert!(validated(bad).is_err(), "{bad:?}");
        }
    }
}
