//! The book of sandboxes outlives the agent, at whatever moment that is killed, and an agent with many calls stays small.

use std::path::PathBuf;

use flock_shared::cni::{Call, Sandbox};
use flock_testkit::compiler::{CniCall, FakeCompiler, Session, patiently};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Child;

use crate::cni::{LONG, answered, call, call_of, calling, done, id, sandbox};
use crate::process::{agent, memory, signal};
use crate::stage::until;
use crate::updates::full;

/// An agent's process that relays, and what it keeps.
struct RelayingAgent {
    compiler: FakeCompiler,
    session: Session,
    child: Child,
    folder: TempDir,
}

impl RelayingAgent {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut compiler = FakeCompiler::start().await;
        let child = begin(&folder, &compiler);
        let session = compiler.session().await;
        Self { compiler, session, child, folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("cni.sock")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("state/sandboxes")
    }

    /// Kills the agent and starts another one; what that says of the node's sandboxes.
    async fn restart(&mut self) -> Vec<String> {
        self.restart_after(|| ()).await
    }

    /// The same, with something that happens between.
    async fn restart_after(&mut self, meanwhile: impl FnOnce()) -> Vec<String> {
        signal(&self.child, Signal::KILL);
        self.session.end().await;
        patiently(self.child.wait()).await.unwrap();
        meanwhile();
        self.child = begin(&self.folder, &self.compiler);
        self.session = self.compiler.session().await;
        self.session.sandboxes().await.iter().map(|sandbox| sandbox.id.to_string()).collect()
    }

    async fn done(&mut self, what: Call) {
        let calling = calling(&self.socket(), what, LONG);
        self.compiler.call().await.done();
        assert_eq!(answered(calling).await, done());
    }

    /// Waits until the disk says that nothing is owed.
    async fn settled(&self) {
        let is_settled = || {
            let text = std::fs::read_to_string(self.file()).unwrap_or_default();
            text.contains("\"gone\":[]") && !text.contains("\"owed\":true")
        };
        until(is_settled).await;
    }

    /// The next call, which nobody but the agent asked for.
    async fn owed(&mut self, name: &str) {
        let call = self.compiler.call().await;
        assert_eq!(call.name(), name);
        call.done();
    }
}

fn begin(folder: &TempDir, compiler: &FakeCompiler) -> Child {
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (url, state, socket) = (compiler.url(), path("state"), path("cni.sock"));
    // What it runs is not its own memory, and nobody reads what it logs.
    let nft = "sh -c 'cat > /dev/null'";
    let options = ["--node", "n1", "--compiler", &url, "--nft", nft, "--state-dir", &state, "--log", "error"];
    agent(&options).args(["--cni-socket", &socket]).spawn().unwrap()
}

#[tokio::test]
async fn an_agent_that_is_killed_before_its_answer_forgets_nothing() {
    let mut kept = RelayingAgent::new().await;
    kept.session.sandboxes().await;
    kept.done(Call::Add(sandbox("a", "10.0.0.1"))).await;
    kept.settled().await;

    // The compiler knows of it, or may; the plugin was told nothing.
    let add = calling(&kept.socket(), Call::Add(sandbox("b", "10.0.0.2")), LONG);
    let unanswered = kept.compiler.call().await;
    assert_eq!(kept.restart().await, ["a", "b"]);
    assert_eq!((patiently(add).await.unwrap(), unanswered.name()), (None, "+b".to_owned()));
    kept.owed("+b").await;
    kept.settled().await;

    let del = calling(&kept.socket(), Call::Del(id("a")), LONG);
    let unanswered = kept.compiler.call().await;
    assert_eq!(kept.restart().await, ["b"]);
    assert_eq!((patiently(del).await.unwrap(), unanswered.name()), (None, "-a".to_owned()));
    kept.owed("-a").await;
    kept.settled().await;
    // Once more for nobody, and there is nothing left to say.
    kept.done(Call::Del(id("a"))).await;
    kept.settled().await;
    assert_eq!(kept.restart().await, ["b"]);
    assert!(!kept.compiler.is_called());
}

#[tokio::test]
async fn garbage_of_one_network_leaves_the_sandboxes_of_others() {
    let mut kept = RelayingAgent::new().await;
    kept.session.sandboxes().await;
    for (name, address, network) in
        [("a", "10.0.0.1", "pods"), ("a.net1", "10.9.0.1", "storage"), ("b", "10.0.0.2", "no name of one")]
    {
        let socket = kept.socket();
        let what = Call::Add(sandbox(name, address));
        let add = tokio::spawn(async move { call_of(&socket, what, network, LONG).await });
        kept.compiler.call().await.done();
        assert_eq!(answered(add).await, done());
    }
    kept.settled().await;
    // The next agent knows whose they are.
    assert_eq!(kept.restart().await, ["a", "a.net1", "b"]);
    for network in ["storage2", "no name of one"] {
        assert_eq!(call_of(&kept.socket(), Call::Gc(vec![]), network, LONG).await, Some(done()));
    }
    let stay = Call::Gc(vec![id("a.net1")]);
    assert_eq!(call_of(&kept.socket(), stay, "storage", LONG).await, Some(done()));
    assert!(!kept.compiler.is_called());
    let socket = kept.socket();
    let gc = tokio::spawn(async move { call_of(&socket, Call::Gc(vec![]), "pods", LONG).await });
    kept.owed("-a").await;
    assert_eq!(answered(gc).await, done());
    assert_eq!(kept.restart().await, ["a.net1", "b"]);
}

#[tokio::test]
async fn a_book_that_is_corrupt_is_empty_and_written_anew() {
    let mut kept = RelayingAgent::new().await;
    kept.session.sandboxes().await;
    kept.done(Call::Add(sandbox("a", "10.0.0.1"))).await;
    for prank in ["garbage", "", "flock-netpol sandboxes 1 0\n{}"] {
        let file = kept.file();
        let told = kept.restart_after(|| std::fs::write(file, prank).unwrap()).await;
        assert_eq!(told, [""; 0], "{prank}");
        kept.done(Call::Add(sandbox("b", "10.0.0.2"))).await;
        kept.settled().await;
        assert_eq!(kept.restart().await, ["b"]);
    }
    let file = kept.file();
    let told = kept.restart_after(|| {
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
    });
    assert_eq!(told.await, [""; 0]);
    kept.done(Call::Add(sandbox("c", "10.0.0.3"))).await;
    kept.session.apply(full("x")).await;
}

#[tokio::test]
async fn memory_is_small_with_as_many_calls_as_there_may_be() {
    let mut kept = RelayingAgent::new().await;
    assert_eq!(call(&kept.socket(), Call::Status, LONG).await, Some(done()));
    let before = memory(&kept.child).1;
    let pods: Vec<_> = (0..256)
        .map(|number| {
            let sandbox = Sandbox {
                id: id(&format!("{number:064}")),
                ..sandbox(&number.to_string(), &format!("10.0.0.{number}"))
            };
            calling(&kept.socket(), Call::Add(sandbox), LONG)
        })
        .collect();
    // As many as are told at once; the others wait for their turn.
    let mut calls: Vec<CniCall> = Vec::new();
    while calls.len() < 60 {
        calls.push(kept.compiler.call().await);
    }
    let saved = || std::fs::read_to_string(kept.file()).unwrap_or_default();
    until(|| saved().matches("\"owed\":true").count() == pods.len()).await;
    let (resident, own) = memory(&kept.child);
    println!("with 256 calls: {resident} kB resident, {own} kB of them the agent's own, {before} kB without");
    assert!(own < before + 3000, "{own} kB");
    calls.into_iter().for_each(CniCall::done);
    for _ in 60..pods.len() {
        kept.compiler.call().await.done();
    }
    for pod in pods {
        assert_eq!(answered(pod).await, done());
    }
    assert_eq!(call(&kept.socket(), Call::Status, LONG).await, Some(done()));
}
