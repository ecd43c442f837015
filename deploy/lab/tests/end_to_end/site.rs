//! A whole installation: two nodes with agents, a compiler on a directory of manifests, flockctl.

use crate::compiler::Compiler;
use crate::flockctl::Flockctl;
use crate::ground::{Ground, NODES};
use crate::manifests::{CLUSTER, Manifests};
use crate::support::process::Process;
use crate::support::wait::wait_until;

/// A compiler that serves [`CLUSTER`] from `cluster.yaml`, and two nodes without agents yet.
pub(crate) struct Site {
    pub(crate) compiler: Compiler,
    pub(crate) flockctl: Flockctl,
    pub(crate) manifests: Manifests,
    pub(crate) ground: Ground,
}

impl Site {
    /// `None` where namespaces cannot be made, which is said.
    pub(crate) fn new(tag: &str) -> Option<Self> {
        Self::with(tag, CLUSTER)
    }

    /// As [`Site::new`], with `cluster.yaml` of other content.
    pub(crate) fn with(tag: &str, cluster: &str) -> Option<Self> {
        let ground = Ground::new(tag)?;
        let manifests = Manifests::new(ground.directory());
        manifests.put("cluster.yaml", cluster);
        let compiler = Compiler::start(["--manifests", manifests.path()], ground.directory());
        let flockctl = Flockctl::new(compiler.url());
        Some(Self { compiler, flockctl, manifests, ground })
    }

    /// Starts the agent of one node.
    pub(crate) fn agent(&self, node: &str, options: &[&str]) -> Process {
        self.ground.agent(node, &self.compiler.url(), options)
    }

    /// Starts the agents of both nodes.
    pub(crate) fn agents(&self) -> [Process; 2] {
        NODES.map(|node| self.agent(node, &[]))
    }

    /// Waits until both nodes have what the directory says now.
    pub(crate) fn settle(&self) {
        for node in NODES {
            self.settle_node(node, &self.manifests.revision(node));
        }
    }

    /// Waits until a node has `revision`, as the compiler says and as the kernel does.
    pub(crate) fn settle_node(&self, node: &str, revision: &str) {
        settle(&self.ground, &self.flockctl, node, revision);
    }
}

/// Waits until a node has `revision`, as the compiler says and as the kernel does.
pub(crate) fn settle(ground: &Ground, flockctl: &Flockctl, node: &str, revision: &str) {
    wait_until(&format!("revision {revision} on {node}"), || {
        let status = flockctl.nodes().into_iter().find(|status| status.node == node);
        status.is_some_and(|status| {
            let revisions = [status.desired_revision, status.applied_revision];
            status.connected && revisions.iter().all(|it| it.as_deref() == Some(revision))
        })
    });
    assert!(ground.holds(node, revision), "the agent of {node} says that it has applied {revision}");
}
