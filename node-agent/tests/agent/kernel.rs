//! The agent as a process with the real nft in a network namespace of its own.

use std::io::{self, Seek as _, Write as _};
use std::process::{Command, Output, Stdio};
use std::thread;

use flock_proto::Outcome;
use flock_testkit::compiler::{FakeCompiler, patiently};
use rustix::process::{Signal, geteuid};

use crate::process::{agent, end, signal};
use crate::updates::{full, revision};

/// A network namespace, gone with this value.
pub(crate) struct Namespace(String);

impl Namespace {
    /// `None`, and a line that says why, where namespaces cannot be made.
    pub(crate) fn new(purpose: &str) -> Option<Self> {
        if !geteuid().is_root() {
            skipped("needs root");
            return None;
        }
        let name = format!("flock-agent-{}-{purpose}", std::process::id());
        match Command::new("ip").args(["netns", "add", &name]).output() {
            Ok(output) if output.status.success() => Some(Self(name)),
            failed => {
                skipped(&format!("needs network namespaces: {failed:?}"));
                None
            }
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    pub(crate) fn nft(&self) -> String {
        format!("ip netns exec {} nft", self.0)
    }

    /// The same, in a way that lets no other program take nft's place: nobody can listen there.
    pub(crate) fn secluded_nft(&self) -> String {
        format!("sh -c 'ip netns exec {} nft \"$@\"' nft", self.0)
    }

    /// Lines that somebody else's nft must take, as one transaction.
    pub(crate) fn apply(&self, script: &str) {
        assert_taken(script, &self.fed(script, &["-f", "-"]).output().unwrap());
    }

    /// The same, each line as a transaction. Waited for without blocking: on slow machines thousands take longer than
    /// an agent bears a compiler that says nothing.
    pub(crate) async fn apply_each(&self, script: &str) {
        let mut command = tokio::process::Command::from(self.fed(script, &["-i"]));
        assert_taken(script, &command.output().await.unwrap());
    }

    /// Returns true if nft takes these lines as one transaction.
    pub(crate) fn takes(&self, script: &str) -> bool {
        self.fed(script, &["-f", "-"]).output().unwrap().status.success()
    }

    fn fed(&self, script: &str, arguments: &[&str]) -> Command {
        let mut input = tempfile::tempfile().unwrap();
        input.write_all(script.as_bytes()).unwrap();
        input.rewind().unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, "nft"]).args(arguments).stdin(input);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What nft prints.
    pub(crate) fn list(&self, arguments: &str) -> String {
        String::from_utf8(self.run(arguments).stdout).unwrap()
    }

    /// Messages of netfilter that the kernel had no room for, of all who listen.
    pub(crate) fn drops(&self) -> u64 {
        let command = ["netns", "exec", &self.0, "cat", "/proc/net/netlink"];
        let output = Command::new("ip").args(command).output().unwrap();
        let table = String::from_utf8(output.stdout).unwrap();
        let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row[1] == "12").map(|row| row[8].parse::<u64>().unwrap()).sum()
    }

    /// The namespace goes, and a new one has its name.
    pub(crate) fn replace(&self) {
        for verb in ["delete", "add"] {
            assert!(Command::new("ip").args(["netns", verb, &self.0]).status().unwrap().success());
        }
    }

    /// Returns true if an nft command succeeds in it.
    pub(crate) fn succeeds(&self, arguments: &str) -> bool {
        self.run(arguments).status.success()
    }

    /// The whole table, as nft lists it.
    pub(crate) fn table(&self) -> String {
        self.list("list table inet flock_netpol")
    }

    fn run(&self, arguments: &str) -> Output {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, "nft"]).args(arguments.split(' '));
        command.output().unwrap()
    }

    pub(crate) fn holds(&self, name: &str) -> bool {
        self.succeeds(&format!("list set inet flock_netpol rev_{}", revision(name)))
    }
}

fn assert_taken(script: &str, output: &Output) {
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

/// Says why a test shows nothing here, past the capture of output that hides it where tests pass.
pub(crate) fn skipped(reason: &str) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    // If nobody listens, nobody is misled.
    let _ = writeln!(io::stderr(), "skipped: {reason} ({test})");
}

#[tokio::test]
async fn a_ruleset_is_applied_guarded_left_and_removed() {
    let Some(namespace) = Namespace::new("life") else {
        return;
    };
    let mut compiler = FakeCompiler::start().await;
    let (url, nft) = (compiler.url(), namespace.nft());
    let arguments = ["--node", "n1", "--compiler", &url, "--nft", &nft, "--check-interval", "0.2"];
    let child = agent(&arguments).spawn().unwrap();
    let mut session = compiler.session().await;
    assert!(session.hello.nft_version.starts_with("nftables v"), "{}", session.hello.nft_version);

    session.apply(full("a")).await;
    assert!(namespace.holds("a"));
    session.apply(full("b")).await;
    assert!(namespace.holds("b") && !namespace.holds("a"));

    assert!(namespace.succeeds("delete table inet flock_netpol"));
    let repaired = session.ack().await;
    assert_eq!((repaired.revision, repaired.outcome), (Some(revision("b")), Outcome::Applied));
    assert!(namespace.holds("b"));

    signal(&child, Signal::TERM);
    session.end().await;
    drop(session);
    assert_eq!(end(child).await.status.code(), Some(0));
    assert!(namespace.holds("b"), "stopping leaves the rules in place");

    for _ in 0..2 {
        let output = end(agent(&["--uninstall", "--nft", &nft]).spawn().unwrap()).await;
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains("removed table inet flock_netpol"));
        assert!(!namespace.succeeds("list table inet flock_netpol"));
    }
}

#[tokio::test]
async fn what_nft_says_reaches_the_compiler_and_the_old_ruleset_stays() {
    let Some(namespace) = Namespace::new("refusal") else {
        return;
    };
    let mut compiler = FakeCompiler::start().await;
    let (url, nft) = (compiler.url(), namespace.nft());
    let child = agent(&["--node", "n1", "--compiler", &url, "--nft", &nft]).spawn().unwrap();
    let mut session = compiler.session().await;
    session.apply(full("a")).await;

    let mut bytes = crate::updates::script("b").bytes().to_vec();
    bytes.extend_from_slice(b"delete chain inet flock_netpol ingress_000000000000000000000000000000aa\n");
    let kind = flock_proto::UpdateKind::Full(flock_shared::Script::new(bytes));
    let ack = session.ask(flock_proto::Update::new(revision("b"), kind).into()).await;
    assert_eq!(ack.outcome, Outcome::NftFailed);
    assert!(
        ack.error.contains("exit 1") && ack.error.contains("ingress_000000000000000000000000000000aa"),
        "{}",
        ack.error
    );
    assert!(namespace.holds("a"));

    signal(&child, Signal::TERM);
    drop(session);
    assert_eq!(end(child).await.status.code(), Some(0));
}

#[tokio::test]
async fn once_is_enough_for_a_script() {
    let Some(namespace) = Namespace::new("once") else {
        return;
    };
    let mut compiler = FakeCompiler::start().await;
    let (url, nft) = (compiler.url(), namespace.nft());
    let child = agent(&["--node", "n1", "--compiler", &url, "--nft", &nft, "--once"]).spawn().unwrap();
    let mut session = compiler.session().await;
    session.apply(full("a")).await;
    patiently(session.end()).await;
    drop(session);
    assert_eq!(end(child).await.status.code(), Some(0));
    assert!(namespace.holds("a"));
}
