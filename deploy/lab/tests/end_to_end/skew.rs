//! Programs of two builds side by side: FLOCK_OTHER_BUILD names a folder with the other one's `flock-compiler` and
//! `flock-node-agent`. What agents of older versions are sent is tried without it in `compiler/tests/stream/facts.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use flock_lab::skipped;

use crate::flockctl::Flockctl;
use crate::ground::Ground;
use crate::manifests::{ALLOW_WEB, CLUSTER, DENY, Manifests};
use crate::support::process::Process;
use crate::support::programs::{AGENT, COMPILER, program};
use crate::support::wait::wait_for;

/// The other build's folder; nothing, and a word about it, where there is none.
fn other_build() -> Option<PathBuf> {
    let folder = std::env::var_os("FLOCK_OTHER_BUILD").map(PathBuf::from);
    if folder.is_none() {
        skipped("needs FLOCK_OTHER_BUILD, a folder with the programs of another build");
    }
    folder
}

/// Programs of both builds on one node.
struct Sides {
    ground: Ground,
    manifests: Manifests,
    other: PathBuf,
}

impl Sides {
    fn new(tag: &str) -> Option<Self> {
        let other = other_build()?;
        let ground = Ground::new(tag)?;
        let manifests = Manifests::new(ground.directory());
        manifests.put("cluster.yaml", CLUSTER);
        manifests.put("policies.yaml", DENY);
        Some(Self { ground, manifests, other })
    }

    fn program(&self, name: &str, is_other: bool) -> Command {
        // Without this machine's variables either way.
        let mut command = program(name);
        if is_other {
            let cleared: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
            command = Command::new(self.other.join(name));
            for name in &cleared {
                command.env_remove(name);
            }
        }
        command
    }

    /// A compiler at an address, and where it is.
    fn compiler(&self, is_other: bool, listen: &str) -> (Process, String) {
        let mut command = self.program(COMPILER, is_other);
        command.args(["serve", "--manifests", self.manifests.path(), "--listen", listen]);
        command.args(["--admin-listen", "127.0.0.1:0"]);
        let mut process = Process::start(command, self.directory());
        let line = process.line(" listening ");
        let address = line.split_whitespace().find_map(|field| field.strip_prefix("listen=")).unwrap();
        (process, address.to_owned())
    }

    fn agent(&self, is_other: bool, address: &str) -> Process {
        let mut command = self.program(AGENT, is_other);
        let (url, state) = (format!("http://{address}"), self.directory().join("state"));
        command
            .args(["--node", "n1", "--compiler", &url, "--nft", &self.ground.nft("n1"), "--state-dir"])
            .arg(state);
        Process::start(command, self.directory())
    }

    fn directory(&self) -> &Path {
        self.ground.directory()
    }

    /// The revision that a node has once it is what the compiler at this address wants.
    fn settled(&self, address: &str, before: Option<&str>) -> String {
        let flockctl = Flockctl::new(format!("http://{address}"));
        let revision = wait_for("the desired revision in the kernel", || {
            let node = flockctl.nodes().into_iter().find(|node| node.node == "n1")?;
            let applied = node.applied_revision.filter(|_| node.connected)?;
            (node.desired_revision.as_ref() == Some(&applied) && before != Some(&*applied)).then_some(applied)
        });
        assert!(self.ground.holds("n1", &revision));
        revision
    }
}

#[test]
fn an_agent_of_this_build_is_served_by_a_compiler_of_another() {
    let Some(sides) = Sides::new("skew-agent") else { return };
    let (_compiler, address) = sides.compiler(true, "127.0.0.1:0");
    let _agent = sides.agent(false, &address);
    let first = sides.settled(&address, None);
    sides.manifests.put("policies.yaml", ALLOW_WEB);
    sides.settled(&address, Some(&first));
}

#[test]
fn an_agent_of_another_build_is_served_by_this_compiler_or_keeps_what_it_has() {
    let Some(sides) = Sides::new("skew-compiler") else { return };
    let (mut other, address) = sides.compiler(true, "127.0.0.1:0");
    let mut agent = sides.agent(true, &address);
    let first = sides.settled(&address, None);
    let scripts = sides.ground.scripts("n1");
    other.terminate();
    let (_own, address) = sides.compiler(false, &address);
    let flockctl = Flockctl::new(format!("http://{address}"));
    let state = wait_for("the agent", || {
        let node = flockctl.nodes().into_iter().find(|node| node.node == "n1")?;
        ["current", "too old", "closed"].contains(&&*node.state).then_some(node.state)
    });
    assert_ne!(state, "closed", "nothing is sent that it would refuse");
    sides.manifests.put("policies.yaml", ALLOW_WEB);
    if state == "current" {
        sides.settled(&address, Some(&first));
    } else {
        // It is told of nothing, which nothing shows: what it is served after it has been updated does.
        assert!(sides.ground.holds("n1", &first), "it keeps the table that it has");
        assert_eq!(flockctl.node("n1").closed, None);
        assert_eq!(sides.ground.scripts("n1"), scripts, "and is sent no script");
        agent.terminate();
        let _updated = sides.agent(false, &address);
        sides.settled(&address, Some(&first));
    }
}
