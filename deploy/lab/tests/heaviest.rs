//! The heaviest table that a compiler gives a node, put in place by the agent under the limit of its container. Elements of
//! sets are charged to whoever makes them, so the limit is for agent, nft and kernel together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "these are tests")]

mod cgroup;
#[path = "end_to_end/support/mod.rs"]
mod support;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flock_compiler_core::translate::Budgets;
use flock_compiler_core::{Translator, render};
use flock_lab::{Lab, Node, skipped};
use flock_proto::{Outcome, Update, UpdateKind};
use flock_shapes::{heavy, parts};
use flock_shared::{Revision, Script, ScriptHash};
use flock_testkit::compiler::BlockingCompiler;

use crate::cgroup::Cgroup;
use crate::support::process::Process;
use crate::support::programs::{AGENT, program, workspace};

/// Far more than the table takes, also on a machine that builds something at the same time.
const PATIENCE: Duration = Duration::from_secs(240);

/// The memory limit of the agent's container, in bytes.
fn container_limit() -> u64 {
    let manifests = fs::read_to_string(workspace().join("deploy/kubernetes/install.yaml")).unwrap();
    let mut documents = manifests.split("\n---\n");
    let daemon_set = documents.find(|document| document.contains("\nkind: DaemonSet\n")).unwrap();
    let (_, limits) = daemon_set.split_once(" limits:\n").expect("the agent's container has limits");
    let memory = limits.lines().find_map(|line| line.trim().strip_prefix("memory: ")).unwrap();
    memory.strip_suffix("Mi").unwrap().parse::<u64>().unwrap() << 20
}

/// The heaviest table as a full script that leads to the revision with a number.
fn update(script: &str, number: u8) -> Update {
    let revision = Revision::of(ScriptHash::of(&[number]));
    let (body, marker) = script.rsplit_once(" rev_").unwrap();
    let (_, rest) = marker.split_once(' ').unwrap();
    let script = Script::new(format!("{body} rev_{revision} {rest}"));
    Update::new(revision, UpdateKind::Full(script))
}

/// A process that listens to nf_tables news: with it, the kernel takes most for a transaction.
struct Listener(Child);

impl Listener {
    fn start(node: &Node) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", node.system_name(), "nft", "monitor"]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended by itself, which nobody minds.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn the_heaviest_table_is_put_in_place_within_the_container_limit() {
    if let Err(reason) = Lab::available() {
        skipped(&reason);
        return;
    }
    let limit = container_limit();
    let cgroup = match Cgroup::new(limit) {
        Ok(cgroup) => cgroup,
        Err(reason) => {
            skipped(&reason);
            return;
        }
    };
    let mut translator = Translator::new();
    for change in heavy::cluster(&Budgets::default().node).changes() {
        translator.apply(change);
    }
    translator.pass();
    assert_eq!(translator.problems(), []);
    let script = render(&translator.output(&parts::node(0).name).unwrap());
    let script = std::str::from_utf8(script.bytes()).unwrap();

    let lab = Lab::new("heaviest").unwrap();
    let node = lab.node("node").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let _listener = Listener::start(&node);
    let mut compiler = BlockingCompiler::start();
    let mut agent = cgroup.command(&program(AGENT));
    agent.args(["--node", "node", "--compiler", &compiler.url, "--nft", &node.nft_command()]);
    agent.args(["--nft-timeout", &PATIENCE.as_secs().to_string()]);
    agent.arg("--state-dir").arg(directory.path().join("state"));
    let mut agent = Process::start(agent, directory.path());
    let mut session = compiler.session();
    // The second time both tables stand at once.
    for number in 0..2 {
        let before = cgroup.peak();
        let ack = session.ask_within(PATIENCE, update(script, number));
        assert_eq!(ack.outcome, Outcome::Applied, "{ack:?}");
        println!(
            "{} MB of script in {:?}: agent, nft and what the kernel charges them had {} MB, then {} MB at most",
            script.len() / 1_000_000,
            ack.took,
            before / 1_000_000,
            cgroup.peak() / 1_000_000,
        );
    }
    assert_eq!(cgroup.killed(), 0, "processes that were killed for their memory");
    assert!(cgroup.peak() < limit, "{} bytes of {limit}", cgroup.peak());
    agent.terminate();
}
