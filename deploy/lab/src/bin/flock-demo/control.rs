//! The control plane of the demo: a compiler, an agent per node, and flockctl to ask how far they are.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use flock_lab::Node;
use serde::Deserialize;

use crate::interrupt::Interrupt;
use crate::process::{Daemon, sibling};

/// How long the nodes may take to reach what the compiler wants of them.
const PATIENCE: Duration = Duration::from_secs(20);

/// Compiler and agents. They end when this is dropped, agents first.
pub(crate) struct Control {
    agents: Vec<Daemon>,
    compiler: Daemon,
    flockctl: PathBuf,
    url: String,
}

/// One entry of `flockctl nodes -o json`, as far as it matters here.
#[derive(Deserialize)]
struct NodeStatus {
    node: String,
    desired_revision: Option<String>,
    applied_revision: Option<String>,
    connected: Option<bool>,
}

/// The revision that every node says it has applied.
pub(crate) type Applied = BTreeMap<String, String>;

impl Control {
    /// Starts everything; logs go into `work`.
    pub(crate) fn start(work: &Path, manifests: &Path, nodes: &[Node]) -> Result<Self> {
        let flockctl = sibling("flockctl")?;
        let (compiler, agent) = (sibling("flock-compiler")?, sibling("flock-node-agent")?);
        let [listen, admin] = free_addresses()?;
        let manifests = manifests.to_str().context("the temporary directory's name is not UTF-8")?;
        let arguments = ["serve", "--manifests", manifests, "--listen", &listen, "--admin-listen", &admin];
        let compiler = Daemon::start("flock-compiler", &compiler, &arguments, work)?;
        let url = format!("http://{listen}");
        let start = |node: &Node| {
            let name = format!("flock-node-agent-{}", node.name());
            let socket = socket(work, node.name());
            let socket = socket.to_str().context("the temporary directory's name is not UTF-8")?;
            let nft = node.nft_command();
            let node = ["--node", node.name(), "--compiler", &url, "--nft", &nft, "--cni-socket", socket];
            // All agents are on this host.
            let arguments = [&node[..], &["--health-listen", "none"]].concat();
            Daemon::start(&name, &agent, &arguments, work)
        };
        let agents = nodes.iter().map(start).collect::<Result<_>>()?;
        Ok(Self { agents, compiler, flockctl, url })
    }

    /// Waits until every node has applied what the compiler wants, and `enough` holds of the revisions. (Right
    /// after an edit the old state still looks settled: `enough` tells the new one.)
    pub(crate) fn settle(
        &mut self,
        interrupt: &Interrupt,
        enough: impl Fn(&Applied) -> bool,
    ) -> Result<Applied> {
        let start = Instant::now();
        loop {
            interrupt.check()?;
            self.compiler.ensure_running()?;
            self.agents.iter_mut().try_for_each(Daemon::ensure_running)?;
            let status = self.status();
            if let Ok(status) = &status
                && let Some(applied) = self.settled(status)
                && enough(&applied)
            {
                return Ok(applied);
            }
            if start.elapsed() > PATIENCE {
                let last = match status {
                    Ok(status) => status.iter().map(describe).collect(),
                    Err(error) => format!("{error:#}\n"),
                };
                let logs: String = self.agents.iter().chain([&self.compiler]).map(Daemon::log_tail).collect();
                bail!("the nodes did not settle within {} s\n{last}{logs}", PATIENCE.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What `flockctl nodes` prints.
    pub(crate) fn table(&self) -> Result<String> {
        self.flockctl(&["nodes"])
    }

    fn settled(&self, status: &[NodeStatus]) -> Option<Applied> {
        let done = |node: &NodeStatus| {
            let applied = node.applied_revision.clone().filter(|_| node.connected == Some(true))?;
            (node.desired_revision.as_ref() == Some(&applied)).then(|| (node.node.clone(), applied))
        };
        let applied: Applied = status.iter().filter_map(done).collect();
        // A node that is listed and not current is left out above, and must not be overlooked.
        (applied.len() == self.agents.len() && applied.len() == status.len()).then_some(applied)
    }

    fn status(&self) -> Result<Vec<NodeStatus>> {
        let text = self.flockctl(&["nodes", "-o", "json"])?;
        serde_json::from_str(&text).with_context(|| format!("understand what flockctl printed: {text}"))
    }

    fn flockctl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.flockctl);
        command.args(["--compiler", &self.url]).args(arguments);
        let output = command.output().with_context(|| format!("run {}", self.flockctl.display()))?;
        // Exit 1 is an answer too: not all nodes are current.
        let is_answer = matches!(output.status.code(), Some(0 | 1));
        ensure!(is_answer, "flockctl: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Where a node's agent listens for the CNI plugin.
pub(crate) fn socket(work: &Path, node: &str) -> PathBuf {
    work.join(format!("cni-{node}.sock"))
}

fn describe(node: &NodeStatus) -> String {
    let NodeStatus { node, desired_revision, applied_revision, connected } = node;
    let word = |revision: &Option<String>| revision.clone().unwrap_or_else(|| "-".to_owned());
    let (desired, applied) = (word(desired_revision), word(applied_revision));
    format!("    {node}: desired {desired}, applied {applied}, connected {}\n", *connected == Some(true))
}

/// Two loopback addresses that nobody listens on at the moment.
fn free_addresses() -> Result<[String; 2]> {
    let bind = || TcpListener::bind("127.0.0.1:0").context("find a free port");
    let listeners = [bind()?, bind()?];
    let [first, second] = [listeners[0].local_addr()?, listeners[1].local_addr()?];
    Ok([first.to_string(), second.to_string()])
}
