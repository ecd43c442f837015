//! Calls of the CNI plugin, as the agent relays them to a compiler that is there, away, old, or of another opinion.

use std::path::{Path, PathBuf};

use flock_node_agent::cni::client::{CompilerClient, Connection, Outcome};
use flock_node_agent::cni::sandboxes::Sandboxes;
use flock_node_agent::run::Config;
use flock_proto::{Attach, Attached, BEHIND_LIMIT, Detach};
use flock_shared::cni::{Answer, Call, NetworkName, Reach, Request, Sandbox, SandboxId};
use flock_shared::{NodeName, PodKey, dial};
use flock_testkit::compiler::{CniCall, CniChange, FakeCompiler, Session, patiently};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use crate::fake_nft::FakeNft;
use crate::stream::{Agent, start};
use crate::updates::full;

/// Longer than any test.
pub(crate) const LONG: u32 = 60_000;
/// Over at once.
const SHORT: u32 = 200;

pub(crate) fn id(name: &str) -> SandboxId {
    SandboxId::new(name).unwrap()
}

pub(crate) fn sandbox(name: &str, address: &str) -> Sandbox {
    Sandbox {
        id: id(name),
        pod: PodKey::new("shop", "web-0").unwrap(),
        uid: Some("0b1c".to_owned()),
        addresses: vec![address.parse().unwrap()],
        interface: Some(format!("veth-{name}")),
    }
}

/// What the plugin gets for a line; `None`: the connection ended.
pub(crate) async fn said(socket: &Path, line: &str) -> Option<Answer> {
    let mut stream = patiently(async {
        loop {
            // The agent is about to make it.
            match UnixStream::connect(socket).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    })
    .await;
    // What is refused before its end is not taken to its end.
    let _ = stream.write_all(line.as_bytes()).await;
    let mut answer = String::new();
    match patiently(BufReader::new(stream).read_line(&mut answer)).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(serde_json::from_str(&answer).unwrap()),
    }
}

pub(crate) async fn call(socket: &Path, call: Call, within_ms: u32) -> Option<Answer> {
    call_of(socket, call, "pods", within_ms).await
}

/// A call of a network.
pub(crate) async fn call_of(socket: &Path, call: Call, network: &str, within_ms: u32) -> Option<Answer> {
    let network = NetworkName::new(network).ok();
    let line = serde_json::to_string(&Request { call, network, within_ms }).unwrap();
    said(socket, &format!("{line}\n")).await
}

/// A call that is under way.
pub(crate) fn calling(socket: &Path, what: Call, within_ms: u32) -> JoinHandle<Option<Answer>> {
    let socket = socket.to_owned();
    tokio::spawn(async move { call(&socket, what, within_ms).await })
}

pub(crate) async fn answered(calling: JoinHandle<Option<Answer>>) -> Answer {
    patiently(calling).await.unwrap().expect("the agent ended the connection")
}

pub(crate) fn done() -> Answer {
    Answer::Done { reach: Reach::Everywhere, behind: Vec::new() }
}

/// An agent that relays.
struct Relaying {
    compiler: FakeCompiler,
    session: Session,
    socket: PathBuf,
    agent: Agent,
    _nft: FakeNft,
    _folder: TempDir,
}

impl Relaying {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("run/cni.sock");
        let adapt = |config: &mut Config| config.cni_socket = Some(socket.clone());
        let (compiler, nft, agent, session) = start(adapt).await;
        Self { compiler, session, socket, agent, _nft: nft, _folder: folder }
    }

    fn calling(&self, what: Call, within_ms: u32) -> JoinHandle<Option<Answer>> {
        calling(&self.socket, what, within_ms)
    }

    /// A call that the compiler has done.
    async fn done(&mut self, what: Call) {
        let calling = self.calling(what, LONG);
        self.compiler.call().await.done();
        assert_eq!(answered(calling).await, done());
    }

    /// What the next stream begins with.
    async fn told_anew(&mut self) -> Vec<String> {
        self.session.fail().await;
        self.session = self.compiler.session().await;
        self.session.sandboxes().await.iter().map(|sandbox| sandbox.id.to_string()).collect()
    }
}

#[tokio::test]
async fn calls_are_relayed_as_they_are_and_answered_as_the_compiler_says() {
    let mut relaying = Relaying::new().await;
    assert_eq!(relaying.session.sandboxes().await, []);
    assert!(relaying.session.hello.cni, "it says that it takes calls");
    let node: NodeName = "n1".parse().unwrap();
    let given = sandbox("a", "10.0.0.1");

    let calling = relaying.calling(Call::Add(given.clone()), 2000);
    let attach = relaying.compiler.call().await;
    let CniChange::Attach(Attach { node: of, sandbox, within }) = &attach.said else { panic!("no attach") };
    assert_eq!((of, sandbox), (&node, &given));
    assert!(within.as_millis() > 0 && within.as_millis() < 2000, "{within:?}");
    let behind = (0..BEHIND_LIMIT).map(|number| format!("n{number}").parse().unwrap()).collect();
    attach.answer(Ok(Attached { reach: Reach::Node, behind }));
    let Answer::Done { reach: Reach::Node, behind } = answered(calling).await else { panic!("not done") };
    assert_eq!((behind.len(), behind[0].as_str()), (BEHIND_LIMIT, "n0"));
    assert_eq!(relaying.told_anew().await, ["a"]);

    let calling = relaying.calling(Call::Del(given.id.clone()), 2000);
    let detach = relaying.compiler.call().await;
    assert!(matches!(&detach.said, CniChange::Detach(Detach { sandbox, .. }) if *sandbox == given.id));
    detach.answer(Ok(Attached { reach: Reach::Unclean, behind: vec!["n2".parse().unwrap()] }));
    let unclean = Answer::Done { reach: Reach::Unclean, behind: vec!["n2".to_owned()] };
    assert_eq!(answered(calling).await, unclean);
    assert_eq!(relaying.told_anew().await, [""; 0]);

    assert_eq!(call(&relaying.socket, Call::Status, SHORT).await, Some(done()));
    relaying.agent.stop().await;
}

#[tokio::test]
async fn what_is_refused_leaves_the_book() {
    let mut relaying = Relaying::new().await;
    relaying.session.sandboxes().await;
    relaying.done(Call::Add(sandbox("a", "10.0.0.1"))).await;
    for code in [Code::InvalidArgument, Code::FailedPrecondition, Code::PermissionDenied] {
        let calling = relaying.calling(Call::Add(sandbox("b", "10.0.0.1")), LONG);
        relaying.compiler.call().await.answer(Err(Status::new(code, "no\u{1b} pod")));
        assert_eq!(answered(calling).await, Answer::Refused("no  pod".to_owned()), "{code:?}");
    }
    assert_eq!(relaying.told_anew().await, ["a"]);
    assert!(!relaying.compiler.is_called(), "nothing is owed");
}

#[tokio::test]
async fn a_call_that_is_not_answered_is_brought_to_whoever_has_the_next_stream() {
    let mut relaying = Relaying::new().await;
    relaying.session.sandboxes().await;
    let add = relaying.calling(Call::Add(sandbox("a", "10.0.0.1")), LONG);
    // It has heard the call and says nothing more: its connection stands, as it does for those who do not notice yet.
    let unanswered = relaying.compiler.call().await;
    assert_eq!(relaying.told_anew().await, ["a"]);
    let again = relaying.compiler.call().await;
    assert_eq!(again.name(), "+a");
    again.done();
    assert_eq!(answered(add).await, done());
    drop(unanswered);
}

#[tokio::test]
async fn a_call_waits_for_a_stream_as_long_as_it_has_time() {
    let relaying = Relaying::new().await;
    let Relaying { compiler, mut session, socket, agent: _agent, .. } = relaying;
    session.sandboxes().await;
    let address = compiler.address;
    compiler.stop().await;
    drop(session);
    let late = call(&socket, Call::Add(sandbox("a", "10.0.0.1")), SHORT).await;
    assert!(matches!(late, Some(Answer::Failed(_))), "{late:?}");

    let add = calling(&socket, Call::Add(sandbox("b", "10.0.0.2")), LONG);
    // It has come once a later one is answered.
    assert_eq!(call(&socket, Call::Status, LONG).await, Some(done()));
    let mut compiler = FakeCompiler::start_at(address).await;
    let mut session = compiler.session().await;
    let told: Vec<String> = session.sandboxes().await.iter().map(|sandbox| sandbox.id.to_string()).collect();
    assert_eq!(told, ["a", "b"]);
    // The one that had no time left is told by the agent alone.
    let mut names = Vec::new();
    for _ in 0..2 {
        let call = compiler.call().await;
        names.push(call.name());
        call.done();
    }
    names.sort_unstable();
    assert_eq!((names, answered(add).await), (vec!["+a".to_owned(), "+b".to_owned()], done()));
}

#[tokio::test]
async fn a_compiler_that_goes_is_asked_again_when_it_is_back() {
    let relaying = Relaying::new().await;
    let Relaying { mut compiler, session, socket, agent: _agent, .. } = relaying;
    let add = calling(&socket, Call::Add(sandbox("a", "10.0.0.1")), LONG);
    let first = compiler.call().await;
    let address = compiler.address;
    compiler.stop().await;
    drop((first, session));
    let mut compiler = FakeCompiler::start_at(address).await;
    let _session = compiler.session().await;
    let second = compiler.call().await;
    assert_eq!(second.name(), "+a");
    second.done();
    assert_eq!(answered(add).await, done());
}

#[tokio::test]
async fn a_compiler_that_is_busy_is_asked_again_over_the_same_stream() {
    let mut relaying = Relaying::new().await;
    let del = relaying.calling(Call::Del(id("a")), LONG);
    for code in [Code::Unavailable, Code::ResourceExhausted, Code::Unauthenticated] {
        relaying.compiler.call().await.answer(Err(Status::new(code, "later")));
    }
    relaying.compiler.call().await.done();
    assert_eq!(answered(del).await, done());
}

#[tokio::test]
async fn an_old_compiler_fails_calls_at_once_and_a_later_one_hears_of_them() {
    let mut relaying = Relaying::new().await;
    relaying.session.sandboxes().await;
    let calls = [Call::Add(sandbox("a", "10.0.0.1")), Call::Del(id("b"))];
    for what in calls {
        let calling = relaying.calling(what, LONG);
        // The agent alone may have asked, too.
        while !calling.is_finished() {
            if relaying.compiler.is_called() {
                relaying.compiler.call().await.answer(Err(Status::unimplemented("unknown method")));
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let Answer::Failed(why) = answered(calling).await else { panic!("not failed") };
        assert!(why.contains("too old") && why.contains("unknown method"), "{why}");
    }
    relaying.session.apply(full("x")).await;
    assert_eq!(relaying.told_anew().await, ["a"]);
    let mut names = Vec::new();
    while names.len() < 2 {
        let call = relaying.compiler.call().await;
        // One may have been on its way before.
        if !names.contains(&call.name()) {
            names.push(call.name());
        }
        call.done();
    }
    names.sort_unstable();
    assert_eq!(names, ["+a", "-b"]);
}

#[tokio::test]
async fn an_agent_that_relays_nothing_says_nothing_of_sandboxes() {
    let (_compiler, _nft, _agent, mut session) = start(|_| ()).await;
    session.apply(full("a")).await;
    assert!(!session.has_sandboxes());
}

#[tokio::test]
async fn the_last_word_of_a_sandbox_counts() {
    let mut relaying = Relaying::new().await;
    relaying.session.sandboxes().await;
    // Two ADDs of one sandbox.
    relaying.done(Call::Add(sandbox("a", "10.0.0.1"))).await;
    relaying.done(Call::Add(sandbox("a", "10.0.0.2"))).await;
    relaying.session.fail().await;
    relaying.session = relaying.compiler.session().await;
    assert_eq!(relaying.session.sandboxes().await, [sandbox("a", "10.0.0.2")]);
    // DEL twice, and of one that nobody knows.
    for name in ["a", "a", "never"] {
        relaying.done(Call::Del(id(name))).await;
    }
    assert_eq!(relaying.told_anew().await, [""; 0]);
    // ADD after DEL.
    relaying.done(Call::Add(sandbox("a", "10.0.0.3"))).await;
    assert_eq!(relaying.told_anew().await, ["a"]);
    assert!(!relaying.compiler.is_called(), "nothing is owed");
}

#[tokio::test]
async fn a_delete_that_overtakes_its_add_is_said_again_after_it() {
    let mut relaying = Relaying::new().await;
    let add = relaying.calling(Call::Add(sandbox("a", "10.0.0.1")), LONG);
    let attach = relaying.compiler.call().await;
    relaying.done(Call::Del(id("a"))).await;
    attach.done();
    assert_eq!(answered(add).await, done());
    let again = relaying.compiler.call().await;
    assert_eq!(again.name(), "-a");
    again.done();
}

#[tokio::test]
async fn what_failed_is_said_again_by_the_agent_alone() {
    let mut relaying = Relaying::new().await;
    for (what, name) in [(Call::Add(sandbox("a", "10.0.0.1")), "+a"), (Call::Del(id("b")), "-b")] {
        let calling = relaying.calling(what, LONG);
        relaying.compiler.call().await.answer(Err(Status::deadline_exceeded("no node")));
        assert!(matches!(answered(calling).await, Answer::Failed(_)));
        let again = relaying.compiler.call().await;
        assert_eq!(again.name(), name);
        again.done();
    }
    relaying.done(Call::Del(id("a"))).await;
}

#[tokio::test]
async fn an_address_that_is_given_anew_ends_the_sandbox_that_had_it() {
    let mut relaying = Relaying::new().await;
    relaying.session.sandboxes().await;
    relaying.done(Call::Add(sandbox("z", "10.0.0.1"))).await;
    relaying.done(Call::Add(sandbox("a", "10.0.0.1"))).await;
    let call = relaying.compiler.call().await;
    assert_eq!(call.name(), "-z");
    call.done();
    assert_eq!(relaying.told_anew().await, ["a"]);
}

#[tokio::test]
async fn garbage_is_collected_and_told() {
    let mut relaying = Relaying::new().await;
    relaying.session.sandboxes().await;
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        relaying.done(Call::Add(sandbox(name, &format!("10.0.0.{number}")))).await;
    }
    let collecting = relaying.calling(Call::Gc(vec![id("b"), id("unknown")]), LONG);
    let told: Vec<String> =
        relaying.session.sandboxes().await.iter().map(|sandbox| sandbox.id.to_string()).collect();
    assert_eq!(told, ["b"]);
    let calls = [relaying.compiler.call().await, relaying.compiler.call().await];
    let mut names = calls.each_ref().map(CniCall::name);
    names.sort_unstable();
    assert_eq!(names, ["-a", "-c"]);
    assert!(!collecting.is_finished());
    calls.into_iter().for_each(CniCall::done);
    assert_eq!(answered(collecting).await, done());
    assert_eq!(call(&relaying.socket, Call::Gc(vec![id("b")]), SHORT).await, Some(done()));
    // While nobody can be told, it fails and is done all the same.
    let failing = relaying.calling(Call::Gc(vec![]), SHORT);
    let unanswered = relaying.compiler.call().await;
    assert!(matches!(answered(failing).await, Answer::Failed(_)));
    assert_eq!(unanswered.name(), "-b");
    assert_eq!(relaying.told_anew().await, [""; 0]);
}

#[tokio::test]
async fn two_hundred_pods_that_start_at_once_are_told_at_once() {
    let mut relaying = Relaying::new().await;
    relaying.session.sandboxes().await;
    let pods: Vec<_> = (0..200)
        .map(|number| {
            relaying.calling(Call::Add(sandbox(&number.to_string(), &format!("10.0.0.{number}"))), LONG)
        })
        .collect();
    // As many as the compiler has streams for, and the others after them.
    let mut calls = Vec::new();
    for _ in 0..60 {
        calls.push(relaying.compiler.call().await);
    }
    assert!(!relaying.compiler.is_called());
    calls.into_iter().for_each(CniCall::done);
    for _ in 60..pods.len() {
        relaying.compiler.call().await.done();
    }
    for pod in pods {
        assert_eq!(answered(pod).await, done());
    }
    assert_eq!(relaying.told_anew().await.len(), 200);
}

#[tokio::test]
async fn each_call_shows_the_token_as_it_is_then() {
    let mut compiler = FakeCompiler::start().await;
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    let channel = dial::connect(&compiler.url().parse().unwrap(), None).await.unwrap();
    let connection = Connection { channel, token_file: Some(token_file.clone()) };
    let (_open, connection) = watch::channel(Some(connection));
    let client = CompilerClient::new("n1".parse().unwrap(), connection);
    for token in ["one", "two"] {
        std::fs::write(&token_file, token).unwrap();
        let (client, pending) = (client.clone(), Sandboxes::default().delete(&id("a")));
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        let calling = tokio::spawn(async move { client.call(&pending, deadline).await });
        let call = compiler.call().await;
        assert_eq!(call.authorization, Some(format!("Bearer {token}")));
        call.done();
        assert!(matches!(patiently(calling).await.unwrap(), Outcome::Done(_)));
    }
    std::fs::remove_file(&token_file).unwrap();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(SHORT.into());
    let outcome = client.call(&Sandboxes::default().delete(&id("a")), deadline).await;
    assert!(matches!(&outcome, Outcome::Late(why) if why.contains("token")), "{outcome:?}");
}
