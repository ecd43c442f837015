//! Two nodes in network namespaces, each with an nft that counts, and agents on them.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use flock_lab::{Lab, Node, Pod, Protocol, skipped};
use flock_shared::marker::leaving;
use tempfile::TempDir;

use crate::support::process::Process;
use crate::support::programs::{AGENT, program};

/// The nodes of every ground.
pub(crate) const NODES: [&str; 2] = ["n1", "n2"];

/// What an nft says that refuses scripts.
pub(crate) const REFUSAL: &str = "/dev/stdin:7:1-3: Error: refused on purpose";

/// Nodes n1 and n2, and a directory for what a test writes.
pub(crate) struct Ground {
    lab: Lab,
    nodes: BTreeMap<&'static str, Node>,
    directory: TempDir,
}

impl Ground {
    /// `None` where namespaces cannot be made, which is said.
    pub(crate) fn new(tag: &str) -> Option<Self> {
        if let Err(reason) = Lab::available() {
            skipped(&reason);
            return None;
        }
        let lab = Lab::new(tag).unwrap();
        let nodes = NODES.map(|name| (name, lab.node(name).unwrap())).into();
        let ground = Self { lab, nodes, directory: tempfile::tempdir().unwrap() };
        for name in NODES {
            let nft = ground.node(name).nft_command();
            let place = nft.strip_suffix("nft").unwrap();
            let runs = ground.runs_file(name);
            let refusing = ground.refusing_file(name);
            let refuse =
                format!("[ \"$1\" = -f ] && [ -e {refusing} ] && {{ echo '{REFUSAL}' >&2; exit 1; }}");
            let trap = ground.trap_file(name);
            let spring =
                format!("nft='{place}'$program trap={trap}; [ \"$1\" = -f ] && [ -e $trap ] && . $trap");
            let count = format!("program=$1; shift; echo \"$*\" >> {runs}");
            let wrapper = format!("{count}\n{refuse}\n{spring}\nexec $nft \"$@\"\n");
            fs::write(ground.wrapper(name), wrapper).unwrap();
            fs::write(runs, "").unwrap();
        }
        Some(ground)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
        &self.nodes[name]
    }

    /// One more node, without an agent.
    pub(crate) fn another(&self, name: &str) -> Node {
        self.lab.node(name).unwrap()
    }

    /// A pod with a TCP server on port 80.
    pub(crate) fn pod(&self, node: &str, name: &str, address: &str) -> Pod {
        let address: IpAddr = address.parse().unwrap();
        let pod = self.node(node).pod(name, &[address]).unwrap();
        pod.serve(&[(Protocol::Tcp, 80)]).unwrap();
        pod
    }

    /// Starts the agent of a node.
    pub(crate) fn agent(&self, node: &str, url: &str, options: &[&str]) -> Process {
        self.agent_named(node, node, url, options)
    }

    /// Starts an agent on a node that says that it is on node `name`.
    pub(crate) fn agent_named(&self, name: &str, node: &str, url: &str, options: &[&str]) -> Process {
        let mut command = program(AGENT);
        command.args(["--node", name, "--compiler", url, "--nft", &self.nft(node)]).args(options);
        Process::start(command, self.directory())
    }

    /// What `--nft` is given: a script that notes its arguments and becomes nft in the node's namespace, or whatever
    /// stands in for nft.
    pub(crate) fn nft(&self, node: &str) -> String {
        format!("sh {} nft", self.wrapper(node))
    }

    /// How many scripts nft was given on a node.
    pub(crate) fn scripts(&self, node: &str) -> usize {
        let runs = fs::read_to_string(self.runs_file(node)).unwrap();
        runs.lines().filter(|arguments| arguments.starts_with("-f")).count()
    }

    /// Whether nft on a node is to refuse every script, with [`REFUSAL`].
    pub(crate) fn refuse_scripts(&self, node: &str, refuse: bool) {
        let file = self.refusing_file(node);
        if refuse { fs::write(file, "") } else { fs::remove_file(file) }.unwrap();
    }

    /// What the shell does on a node before it becomes nft with a script, until it removes `$trap`. `$nft` is the
    /// real one.
    pub(crate) fn set_trap(&self, node: &str, commands: &str) {
        // Moved in, so that it is there as a whole or not at all.
        let written = self.directory().join(format!("nft-{node}.new"));
        fs::write(&written, commands).unwrap();
        fs::rename(written, self.trap_file(node)).unwrap();
    }

    /// Whether a trap is still there.
    pub(crate) fn has_trap(&self, node: &str) -> bool {
        fs::exists(self.trap_file(node)).unwrap()
    }

    /// Removes a trap that does not remove itself.
    pub(crate) fn remove_trap(&self, node: &str) {
        fs::remove_file(self.trap_file(node)).unwrap();
    }

    /// Whether the kernel has a revision's table.
    pub(crate) fn holds(&self, node: &str, revision: &str) -> bool {
        let leaving = leaving(&revision.parse().unwrap());
        self.node(node).run("nft", &["-c", "-f", "-"], &leaving).is_ok()
    }

    /// Whether the kernel has any table of ours.
    pub(crate) fn has_table(&self, node: &str) -> bool {
        self.node(node).run("nft", &["list", "table", "inet", "flock_netpol"], "").is_ok()
    }

    fn wrapper(&self, node: &str) -> String {
        self.directory().join(format!("nft-{node}")).to_str().unwrap().to_owned()
    }

    fn refusing_file(&self, node: &str) -> String {
        self.directory().join(format!("nft-{node}.refuses")).to_str().unwrap().to_owned()
    }

    fn trap_file(&self, node: &str) -> String {
        self.directory().join(format!("nft-{node}.trap")).to_str().unwrap().to_owned()
    }

    fn runs_file(&self, node: &str) -> String {
        self.directory().join(format!("nft-{node}.runs")).to_str().unwrap().to_owned()
    }
}
