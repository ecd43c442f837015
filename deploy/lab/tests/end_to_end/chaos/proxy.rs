//! A proxy between an agent and the compiler that says something else than the agent did, or nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flock_proto::v1::agent_message::Message;
use flock_proto::v1::node_service_client::NodeServiceClient;
use flock_proto::v1::node_service_server::{NodeService, NodeServiceServer};
use flock_proto::{Ack, AgentMessage, MAX_MESSAGE_BYTES, Outcome, v1};
use flock_shared::dial;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// What the proxy is to do wrong. Each is done as often as is left of it.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Acks that do not reach the compiler.
    pub(super) lose_acks: usize,
    /// Scripts that do not reach the agent; the compiler is told that their base is not there.
    pub(super) refuse: usize,
    /// Updates after which the stream ends, before the ack.
    pub(super) end_after_update: usize,
    /// What the next hello says is applied; empty for nothing.
    pub(super) claim: Option<String>,
}

/// An update that came by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) revision: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Full,
    Delta,
    Current,
}

#[derive(Debug, Default)]
struct State {
    faults: Faults,
    streams: usize,
    seen: Vec<Seen>,
}

/// A proxy that listens on a loopback port until it is dropped.
pub(super) struct Proxy {
    /// `http://127.0.0.1:PORT`.
    pub(super) url: String,
    state: Arc<Mutex<State>>,
    _runtime: Runtime,
}

impl Proxy {
    /// A proxy to a compiler.
    pub(super) fn start(compiler: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let service = Service { compiler: compiler.to_owned(), state: Arc::clone(&state) };
        let server = Server::builder()
            .add_service(NodeServiceServer::new(service))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(server);
        Self { url, state, _runtime: runtime }
    }

    /// What is to go wrong from now on.
    pub(super) fn set(&self, faults: Faults) {
        lock(&self.state).faults = faults;
    }

    /// Whether nothing is left to go wrong.
    pub(super) fn is_done(&self) -> bool {
        let Faults { lose_acks, refuse, end_after_update, claim } = &lock(&self.state).faults;
        (*lose_acks, *refuse, *end_after_update) == (0, 0, 0) && claim.is_none()
    }

    /// Streams that agents have opened.
    pub(super) fn streams(&self) -> usize {
        lock(&self.state).streams
    }

    /// The updates that have come by, refused ones too.
    pub(super) fn seen(&self) -> Vec<Seen> {
        lock(&self.state).seen.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes one, if there is one.
const fn take(left: &mut usize) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

struct Service {
    compiler: String,
    state: Arc<Mutex<State>>,
}

#[tonic::async_trait]
impl NodeService for Service {
    type SubscribeStream = ReceiverStream<Result<v1::Update, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let mut from_agent = request.into_inner();
        let (to_compiler, messages) = mpsc::channel(16);
        let mut hello = from_agent.message().await?.ok_or_else(|| Status::invalid_argument("no hello"))?;
        {
            let mut state = lock(&self.state);
            state.streams += 1;
            if let (Some(claim), Some(Message::Hello(hello))) =
                (state.faults.claim.take(), &mut hello.message)
            {
                hello.applied_revision = claim;
            }
        }
        to_compiler.send(hello).await.map_err(|_| Status::internal("no room"))?;
        let unreachable = |error: dial::DialError| Status::unavailable(error.to_string());
        let url = self.compiler.parse().map_err(|_| Status::internal("no URL"))?;
        let channel = dial::connect(&url, None).await.map_err(unreachable)?;
        let mut client = NodeServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let mut from_compiler = client.subscribe(ReceiverStream::new(messages)).await?.into_inner();
        let (to_agent, updates) = mpsc::channel(1);
        let state = Arc::clone(&self.state);
        // Ends when either side does, and then with both.
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    message = from_agent.message() => {
                        let Ok(Some(message)) = message else { return };
                        let is_ack = matches!(message.message, Some(Message::Ack(_)));
                        let is_lost = is_ack && take(&mut lock(&state).faults.lose_acks);
                        if !is_lost && to_compiler.send(message).await.is_err() {
                            return;
                        }
                    }
                    update = from_compiler.message() => match update {
                        Ok(Some(update)) => match pass(&state, &update) {
                            Way::On => if to_agent.send(Ok(update)).await.is_err() { return },
                            Way::OnAndEnd => {
                                let _ = to_agent.send(Ok(update)).await;
                                return;
                            }
                            Way::Back(ack) => {
                                let ack = v1::AgentMessage::from(AgentMessage::Ack(ack));
                                if to_compiler.send(ack).await.is_err() { return }
                            }
                        },
                        Ok(None) => return,
                        Err(status) => {
                            let _ = to_agent.send(Err(status)).await;
                            return;
                        }
                    },
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(updates)))
    }

    async fn attach(&self, _: Request<v1::AttachRequest>) -> Result<Response<v1::AttachReply>, Status> {
        Err(Status::unimplemented("a compiler of before there were attachments"))
    }

    async fn detach(&self, _: Request<v1::DetachRequest>) -> Result<Response<v1::AttachReply>, Status> {
        Err(Status::unimplemented("a compiler of before there were attachments"))
    }
}

/// Where an update goes.
enum Way {
    On,
    OnAndEnd,
    Back(Ack),
}

fn pass(state: &Mutex<State>, update: &v1::Update) -> Way {
    let kind = match (update.base_revision.is_empty(), update.script.is_empty()) {
        (true, _) => Kind::Full,
        (false, true) => Kind::Current,
        (false, false) => Kind::Delta,
    };
    let mut state = lock(state);
    state.seen.push(Seen { revision: update.revision.clone(), kind });
    if kind != Kind::Current && take(&mut state.faults.refuse) {
        return Way::Back(Ack {
            revision: update.revision.parse().ok(),
            outcome: Outcome::BaseMismatch,
            error: "refused on purpose".to_owned(),
            took: Duration::ZERO,
            drifts: 0,
        });
    }
    if take(&mut state.faults.end_after_update) { Way::OnAndEnd } else { Way::On }
}
