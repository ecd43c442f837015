//! A compiler whose every word is the test's.

use std::net::SocketAddr;

use flock_proto::v1::node_service_server::{NodeService, NodeServiceServer};
use flock_proto::{
    Ack, AgentMessage, Attach, Attached, Detach, Flows, Hello, NodeFacts, Outcome, Update, UpdateKind, v1,
};
use flock_shared::cni::{Reach, Sandbox};
use flock_shared::{Revision, Script, ScriptHash};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::patiently;

/// One stream, seen from the compiler. Dropping it closes the stream.
pub(crate) struct Session {
    pub(crate) hello: Hello,
    acks: mpsc::Receiver<Ack>,
    facts: mpsc::Receiver<NodeFacts>,
    questions: mpsc::Receiver<Flows>,
    sandboxes: mpsc::Receiver<Vec<Sandbox>>,
    updates: mpsc::Sender<Result<v1::Update, Status>>,
}

impl Session {
    pub(crate) async fn send(&self, update: v1::Update) {
        patiently(self.updates.send(Ok(update))).await.unwrap();
    }

    pub(crate) async fn fail(&self) {
        patiently(self.updates.send(Err(Status::unavailable("on purpose")))).await.unwrap();
    }

    pub(crate) async fn ack(&mut self) -> Ack {
        patiently(self.acks.recv()).await.expect("the agent closed the stream")
    }

    /// The next question about connections.
    pub(crate) async fn question(&mut self) -> Flows {
        patiently(self.questions.recv()).await.expect("the agent closed the stream")
    }

    /// Whether a question has come that nobody has looked at.
    pub(crate) fn is_asked(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Sends an update and gives the answer.
    pub(crate) async fn ask(&mut self, update: v1::Update) -> Ack {
        self.send(update).await;
        self.ack().await
    }

    /// Sends an update that must succeed.
    pub(crate) async fn apply(&mut self, update: v1::Update) {
        let ack = self.ask(update).await;
        assert_eq!((ack.outcome, ack.error.as_str()), (Outcome::Applied, ""));
    }

    /// What the agent says of its node next.
    pub(crate) async fn facts(&mut self) -> NodeFacts {
        patiently(self.facts.recv()).await.expect("the agent closed the stream")
    }

    /// The sandboxes of the node, as the agent says them next.
    pub(crate) async fn sandboxes(&mut self) -> Vec<Sandbox> {
        patiently(self.sandboxes.recv()).await.expect("the agent closed the stream")
    }

    /// Whether sandboxes have been said that nobody has looked at.
    pub(crate) fn has_sandboxes(&self) -> bool {
        !self.sandboxes.is_empty()
    }

    /// Waits until the agent has closed its half.
    pub(crate) async fn end(&mut self) {
        while patiently(self.acks.recv()).await.is_some() {}
    }
}

/// What the agent says that CNI did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Attach(Attach),
    Detach(Detach),
}

/// A call that waits for its answer.
pub(crate) struct Call {
    pub(crate) said: Said,
    /// What the agent shows itself to be.
    pub(crate) authorization: Option<String>,
    answer: oneshot::Sender<Result<Attached, Status>>,
}

impl Call {
    /// `+id` or `-id`.
    pub(crate) fn name(&self) -> String {
        match &self.said {
            Said::Attach(call) => format!("+{}", call.sandbox.id),
            Said::Detach(call) => format!("-{}", call.sandbox),
        }
    }

    pub(crate) fn answer(self, answer: Result<Attached, Status>) {
        // Who waits for it may have been killed.
        let _ = self.answer.send(answer);
    }

    pub(crate) fn done(self) {
        self.answer(Ok(Attached { reach: Reach::Everywhere, behind: Vec::new() }));
    }
}

struct Service {
    sessions: mpsc::Sender<Session>,
    calls: mpsc::Sender<Call>,
}

impl Service {
    async fn call<T>(
        &self,
        request: Request<T>,
        said: impl FnOnce(T) -> Said,
    ) -> Result<Response<v1::AttachReply>, Status> {
        let (answer, answered) = oneshot::channel();
        let authorization = request.metadata().get("authorization");
        let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        let said = said(request.into_inner());
        let nobody = || Status::unavailable("nobody answers");
        self.calls.send(Call { said, authorization, answer }).await.map_err(|_| nobody())?;
        let answer = answered.await.map_err(|_| nobody())?;
        answer.map(|attached| Response::new(attached.into()))
    }
}

#[tonic::async_trait]
impl NodeService for Service {
    type SubscribeStream = ReceiverStream<Result<v1::Update, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let mut messages = request.into_inner();
        let first = messages.message().await?.expect("a hello");
        let AgentMessage::Hello(hello) = AgentMessage::try_from(first).unwrap() else {
            panic!("not a hello")
        };
        let (ack_inlet, acks) = mpsc::channel(64);
        let (facts_inlet, facts) = mpsc::channel(64);
        let (question_inlet, questions) = mpsc::channel(64);
        let (sandbox_inlet, sandboxes) = mpsc::channel(64);
        let (updates, mut relayed) = mpsc::channel(1);
        let (outbound, stream) = mpsc::channel(1);
        // Either side's end is the stream's.
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    message = messages.message() => {
                        let Ok(Some(message)) = message else { return };
                        let heard = match AgentMessage::try_from(message).unwrap() {
                            AgentMessage::Ack(ack) => ack_inlet.send(ack).await.is_ok(),
                            AgentMessage::Facts(facts) => facts_inlet.try_send(facts).is_ok(),
                            AgentMessage::Sandboxes(all) => sandbox_inlet.send(all).await.is_ok(),
                            AgentMessage::Flows(flows) => question_inlet.send(flows).await.is_ok(),
                            AgentMessage::Hello(_) => panic!("a second hello"),
                        };
                        if !heard {
                            return;
                        }
                    }
                    update = relayed.recv() => {
                        let Some(update) = update else { return };
                        if outbound.send(update).await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
        let session = Session { hello, acks, facts, questions, sandboxes, updates };
        self.sessions.send(session).await.unwrap();
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn attach(&self, request: Request<v1::AttachRequest>) -> Result<Response<v1::AttachReply>, Status> {
        self.call(request, |call| Said::Attach(call.try_into().unwrap())).await
    }

    async fn detach(&self, request: Request<v1::DetachRequest>) -> Result<Response<v1::AttachReply>, Status> {
        self.call(request, |call| Said::Detach(call.try_into().unwrap())).await
    }
}

/// A compiler that listens.
pub(crate) struct Compiler {
    pub(crate) address: SocketAddr,
    sessions: mpsc::Receiver<Session>,
    calls: mpsc::Receiver<Call>,
    server: JoinHandle<()>,
}

impl Compiler {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (session_inlet, sessions) = mpsc::channel(8);
        let (call_inlet, calls) = mpsc::channel(1024);
        let service = NodeServiceServer::new(Service { sessions: session_inlet, calls: call_inlet });
        // Of calls that wait for a test's answer there may be more than by default.
        let serving = Server::builder()
            .max_concurrent_streams(1024)
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async { serving.await.unwrap() });
        Self { address, sessions, calls, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next stream that an agent opens.
    pub(crate) async fn session(&mut self) -> Session {
        patiently(self.sessions.recv()).await.unwrap()
    }

    /// The next call of what CNI did.
    pub(crate) async fn call(&mut self) -> Call {
        patiently(self.calls.recv()).await.unwrap()
    }

    /// Whether a call has come that nobody has looked at.
    pub(crate) fn is_called(&self) -> bool {
        !self.calls.is_empty()
    }

    pub(crate) async fn stop(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}

pub(crate) fn revision(name: &str) -> Revision {
    Revision::of(ScriptHash::of(name.as_bytes()))
}

/// A script that leaves the marker of the state `name`, as real ones do.
pub(crate) fn script(name: &str) -> Script {
    let table = "table inet flock_netpol";
    let marker = format!("add set inet flock_netpol rev_{} {{ typeof ip saddr; }}\n", revision(name));
    Script::new(format!("add {table}\ndelete {table}\n{table} {{\n}}\n{marker}"))
}

/// The same, with so many bytes more that change nothing.
pub(crate) fn large(name: &str, bytes: usize) -> Script {
    let filling = "add table inet flock_netpol\n";
    let script = script(name);
    Script::new([script.bytes(), filling.repeat(bytes / filling.len()).as_bytes()].concat())
}

pub(crate) fn full(name: &str) -> v1::Update {
    Update::new(revision(name), UpdateKind::Full(script(name))).into()
}

pub(crate) fn delta(base: &str, name: &str) -> v1::Update {
    let kind = UpdateKind::Delta { base: revision(base), script: script(name) };
    Update::new(revision(name), kind).into()
}

/// The same update, of a state at a position.
pub(crate) fn at(position: &str, update: v1::Update) -> v1::Update {
    v1::Update { position: position.to_owned().into(), ..update }
}
