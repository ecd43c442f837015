//! A compiler whose every word is the test's, for what a real one never says.

use std::sync::Mutex;
use std::sync::mpsc::{self as std_mpsc, Receiver};
use std::time::Duration;

use flock_proto::v1::node_service_server::{NodeService, NodeServiceServer};
use flock_proto::{Ack, AgentMessage, Hello, v1};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::wait::PATIENCE;

/// A compiler that listens on a loopback port until it is dropped.
pub(crate) struct FakeCompiler {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    sessions: Receiver<Session>,
    _runtime: Runtime,
}

/// One stream, seen from the compiler. Dropping it closes the stream.
pub(crate) struct Session {
    /// How the agent introduced itself.
    pub(crate) hello: Hello,
    updates: mpsc::Sender<Result<v1::Update, Status>>,
    acks: Receiver<Ack>,
}

impl FakeCompiler {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (inlet, sessions) = std_mpsc::channel();
        let server = Server::builder()
            .add_service(NodeServiceServer::new(Service(Mutex::new(inlet))))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(server);
        Self { url, sessions, _runtime: runtime }
    }

    /// The next stream that an agent opens.
    pub(crate) fn session(&self) -> Session {
        self.sessions.recv_timeout(PATIENCE).expect("an agent should have come")
    }
}

impl Session {
    /// Sends an update and gives the answer.
    pub(crate) fn ask(&self, update: impl Into<v1::Update>) -> Ack {
        self.ask_within(PATIENCE, update)
    }

    /// The same, for what takes so long at most.
    pub(crate) fn ask_within(&self, limit: Duration, update: impl Into<v1::Update>) -> Ack {
        self.updates.blocking_send(Ok(update.into())).expect("the agent should listen");
        self.acks.recv_timeout(limit).expect("the agent should have answered")
    }
}

struct Service(Mutex<std_mpsc::Sender<Session>>);

#[tonic::async_trait]
impl NodeService for Service {
    type SubscribeStream = ReceiverStream<Result<v1::Update, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let mut messages = request.into_inner();
        let hello = match messages.message().await?.map(AgentMessage::try_from) {
            Some(Ok(AgentMessage::Hello(hello))) => hello,
            other => return Err(Status::invalid_argument(format!("{other:?} is no hello"))),
        };
        let (answers, acks) = std_mpsc::channel();
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                let ack = match AgentMessage::try_from(message) {
                    Ok(AgentMessage::Ack(ack)) => ack,
                    // The node may look otherwise meanwhile, which is nothing to a test of this compiler's words.
                    Ok(AgentMessage::Facts(_) | AgentMessage::Flows(_) | AgentMessage::Sandboxes(_)) => {
                        continue;
                    }
                    Ok(AgentMessage::Hello(_)) | Err(_) => return,
                };
                if answers.send(ack).is_err() {
                    return;
                }
            }
        });
        let (updates, stream) = mpsc::channel(1);
        // A test that has ended wants no more sessions.
        let _ = self.0.lock().unwrap().send(Session { hello, updates, acks });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn attach(&self, _: Request<v1::AttachRequest>) -> Result<Response<v1::AttachReply>, Status> {
        Err(Status::unimplemented("a compiler of before there were attachments"))
    }

    async fn detach(&self, _: Request<v1::DetachRequest>) -> Result<Response<v1::AttachReply>, Status> {
        Err(Status::unimplemented("a compiler of before there were attachments"))
    }
}
