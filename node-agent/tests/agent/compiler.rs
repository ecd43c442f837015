//! A compiler whose every word is the test's.

use std::net::SocketAddr;

use flock_proto::v1::node_service_server::{NodeService, NodeServiceServer};
use flock_proto::{Ack, AgentMessage, Flows, Hello, NodeFacts, Outcome, Update, UpdateKind, v1};
use flock_shared::{Revision, Script, ScriptHash};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
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

    /// Waits until the agent has closed its half.
    pub(crate) async fn end(&mut self) {
        while patiently(self.acks.recv()).await.is_some() {}
    }
}

struct Service(mpsc::Sender<Session>);

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
                            AgentMessage::Sandboxes(_) => true,
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
        self.0.send(Session { hello, acks, facts, questions, updates }).await.unwrap();
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn attach(&self, _: Request<v1::AttachRequest>) -> Result<Response<v1::AttachReply>, Status> {
        Err(Status::unimplemented("a compiler of before there were attachments"))
    }

    async fn detach(&self, _: Request<v1::DetachRequest>) -> Result<Response<v1::AttachReply>, Status> {
        Err(Status::unimplemented("a compiler of before there were attachments"))
    }
}

/// A compiler that listens.
pub(crate) struct Compiler {
    pub(crate) address: SocketAddr,
    sessions: mpsc::Receiver<Session>,
    server: JoinHandle<()>,
}

impl Compiler {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (inlet, sessions) = mpsc::channel(8);
        let service = NodeServiceServer::new(Service(inlet));
        let serving =
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async { serving.await.unwrap() });
        Self { address, sessions, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next stream that an agent opens.
    pub(crate) async fn session(&mut self) -> Session {
        patiently(self.sessions.recv()).await.unwrap()
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
