//! An agent with the real nft, a table that a full script and a delta led to, and somebody else's nft.

use std::time::Duration;

use flock_node_agent::state::StateDir;
use flock_proto::{Outcome, Update, UpdateKind};
use flock_testkit::compiler::{FakeCompiler, Session, patiently};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Child;

use crate::kernel::Namespace;
use crate::kernel_deltas::{delta, full};
use crate::process::{agent, end, signal};
use crate::updates::revision;

/// An agent with a full script and a delta in place, in a namespace of its own.
pub(crate) struct Stage {
    pub(crate) namespace: Namespace,
    pub(crate) compiler: FakeCompiler,
    pub(crate) arguments: Vec<String>,
    pub(crate) child: Child,
    pub(crate) session: Session,
    /// What stands.
    pub(crate) table: String,
    pub(crate) state: TempDir,
}

impl Stage {
    pub(crate) async fn new(purpose: &str) -> Option<Self> {
        Self::with(Namespace::new(purpose)?, None).await
    }

    pub(crate) async fn with(namespace: Namespace, nft: Option<String>) -> Option<Self> {
        let state = tempfile::tempdir().unwrap();
        let mut compiler = FakeCompiler::start().await;
        let nft = nft.unwrap_or_else(|| namespace.nft());
        let arguments = [
            ["--node", "n1"],
            ["--compiler", &compiler.url()],
            ["--nft", &nft],
            ["--check-interval", "3600"],
            ["--nft-timeout", "30"],
            ["--state-dir", state.path().to_str().unwrap()],
        ];
        let arguments: Vec<String> = arguments.concat().iter().map(ToString::to_string).collect();
        let child = start(&arguments);
        let mut session = compiler.session().await;
        session.apply(full()).await;
        session.apply(delta(1)).await;
        let table = namespace.table();
        let stage = Self { namespace, compiler, arguments, child, session, table, state };
        stage.saved("1").await;
        Some(stage)
    }

    /// Waits until it is written down that this stands: an agent acknowledges before that, so whoever kills it has to.
    pub(crate) async fn saved(&self, state: &str) {
        until(|| {
            let folder = StateDir::found(self.state.path()).ok().flatten();
            let saved = folder.and_then(|folder| folder.look().ok().flatten());
            saved.is_some_and(|saved| saved.journal.last().revision == revision(state))
        })
        .await;
    }

    /// Ends the agent with `signal`, lets `meanwhile` happen, and starts another one.
    pub(crate) async fn restart(&mut self, by: Signal, meanwhile: impl FnOnce(&Namespace)) {
        signal(&self.child, by);
        self.session.end().await;
        patiently(self.child.wait()).await.unwrap();
        meanwhile(&self.namespace);
        self.child = start(&self.arguments);
        self.session = self.compiler.session().await;
    }

    /// Options of agents that are started from now on: each in the place of the one of its name.
    pub(crate) fn change(&mut self, option: &str, value: &str) {
        let place = self.arguments.iter().position(|argument| argument == option).unwrap() + 1;
        value.clone_into(&mut self.arguments[place]);
    }

    /// One or more lines that nft takes from somebody else, as one transaction.
    pub(crate) fn edit(&self, script: &str) {
        self.namespace.apply(script);
    }

    /// The next ack tells of the repair of so many drifts in all, and the table is as it was.
    pub(crate) async fn repaired(&mut self, drifts: u32) {
        let ack = self.session.ack().await;
        let expected = (Some(revision("1")), Outcome::Applied, drifts);
        assert_eq!((ack.revision, ack.outcome, ack.drifts), expected, "{}", ack.error);
        assert_eq!(self.namespace.table(), self.table);
    }

    /// The state that stands is told again; how many drifts there were.
    pub(crate) async fn drifts(&mut self) -> u32 {
        let current = Update::new(revision("1"), UpdateKind::Current);
        let ack = self.session.ask(current.into()).await;
        assert_eq!(ack.outcome, Outcome::Unchanged, "{}", ack.error);
        ack.drifts
    }

    pub(crate) async fn stop(mut self) -> String {
        signal(&self.child, Signal::TERM);
        self.session.end().await;
        drop(self.session);
        let output = end(self.child).await;
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    }
}

pub(crate) fn start(arguments: &[String]) -> Child {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    agent(&arguments).spawn().unwrap()
}

/// Waits for something that no message tells.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    patiently(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
