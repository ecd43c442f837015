//! An agent whose every word is the test's, without nft: it believes every update, and remembers what an agent remembers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic as tests do")]

use std::future::Future;
use std::time::Duration;

use flock_nft::read::GRAMMAR;
use flock_proto::v1::node_service_client::NodeServiceClient;
use flock_proto::{Ack, AgentMessage, Hello, MAX_MESSAGE_BYTES, Outcome, Position, Update, UpdateKind, v1};
use flock_shared::token::BearerToken;
use flock_shared::{NodeName, Revision, Superseded};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::compiler::PATIENCE;
use crate::patience::patient;

/// Messages that wait for the connection to take them.
const OUTBOUND: usize = 16;

/// What an agent has, as its next hello says it.
#[derive(Debug, Clone, Default)]
pub struct AgentMemory {
    /// The state that stands.
    pub applied: Option<Revision>,
    /// How far into the cluster's history it reaches.
    pub position: Position,
    /// What its table has gone on from.
    pub superseded: Superseded,
}

impl AgentMemory {
    /// The hello of an agent of `node` that has this.
    #[must_use]
    pub fn hello(&self, node: NodeName) -> Hello {
        let Self { applied, position, superseded } = self.clone();
        Hello { applied, position, superseded, ..hello_of(node) }
    }
}

/// The hello of an agent that has nothing.
#[must_use]
pub fn hello_of(node: NodeName) -> Hello {
    Hello {
        node,
        agent_version: env!("CARGO_PKG_VERSION").into(),
        nft_version: "nftables v1.0.6 (Lester Gooch #5)".into(),
        applied: None,
        position: Position::default(),
        drifts: 0,
        superseded: Superseded::default(),
        facts: None,
        refused: Vec::new(),
        grammar: GRAMMAR,
        cni: false,
        drops: true,
    }
}

/// An agent with an open stream. Dropping it closes the stream.
#[derive(Debug)]
pub struct FakeAgent {
    /// What it has.
    pub memory: AgentMemory,
    messages: mpsc::Sender<v1::AgentMessage>,
    updates: Streaming<v1::Update>,
    patience: Duration,
}

impl FakeAgent {
    /// Opens a stream, shows a token if there is one, and says nothing.
    ///
    /// # Errors
    /// When the compiler refuses it at once.
    pub async fn silent(channel: Channel, token: Option<&BearerToken>) -> Result<Self, Status> {
        let (messages, outbound) = mpsc::channel(OUTBOUND);
        let mut request = Request::new(ReceiverStream::new(outbound));
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", token.authorization());
        }
        let mut client = NodeServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let updates = client.subscribe(request).await?.into_inner();
        Ok(Self { memory: AgentMemory::default(), messages, updates, patience: patient(PATIENCE) })
    }

    /// Opens a stream and says hello.
    ///
    /// # Errors
    /// When the compiler refuses it at once; later the next update tells.
    pub async fn open(channel: Channel, token: Option<&BearerToken>, hello: Hello) -> Result<Self, Status> {
        let mut agent = Self::silent(channel, token).await?;
        let Hello { applied, position, superseded, .. } = hello.clone();
        agent.memory = AgentMemory { applied, position, superseded };
        agent.say(AgentMessage::Hello(hello)).await;
        Ok(agent)
    }

    /// Waits so long for what must come, instead of [`PATIENCE`]: where a test's clock is not the machine's.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Says something. That the stream has ended already the next update tells.
    pub async fn say(&self, message: AgentMessage) {
        drop(self.messages.send(message.into()).await);
    }

    /// Says what no compiler understands yet.
    pub async fn say_something_new(&self) {
        self.messages.send(v1::AgentMessage { message: None }).await.unwrap();
    }

    /// The next update.
    ///
    /// # Errors
    /// Why there is none: how the stream ended.
    pub async fn next(&mut self) -> Result<Option<Update>, Status> {
        let next = within(self.patience, self.updates.message());
        Ok(next.await?.map(|update| update.try_into().unwrap()))
    }

    /// The next update, which must come.
    pub async fn update(&mut self) -> Update {
        self.next().await.unwrap().expect("the stream ended")
    }

    /// Returns true if an update is there already, or comes at once.
    pub async fn is_told_something(&mut self) -> bool {
        timeout(Duration::from_millis(50), self.updates.message()).await.is_ok()
    }

    /// Acknowledges an update.
    pub async fn answer(&self, revision: &Revision, outcome: Outcome) {
        let error = if outcome.is_success() { "" } else { "on purpose" }.to_owned();
        let (revision, took) = (Some(revision.clone()), Duration::from_millis(1));
        self.say(AgentMessage::Ack(Ack { revision, outcome, error, took, drifts: 0 })).await;
    }

    /// Takes the next update as a healthy agent does, whatever it builds on; what it reached, and how.
    pub async fn apply(&mut self) -> (Revision, UpdateKind) {
        let update = self.update().await;
        self.accept(&update).await;
        (update.revision, update.kind)
    }

    /// Takes the next update, which must build on what the agent has.
    ///
    /// # Errors
    /// How the stream ended.
    pub async fn take(&mut self) -> Result<Update, Status> {
        let update = self.next().await?.expect("the stream goes on");
        match &update.kind {
            UpdateKind::Current => assert_eq!(self.memory.applied.as_ref(), Some(&update.revision)),
            UpdateKind::Delta { base, .. } => {
                assert_eq!(
                    self.memory.applied.as_ref(),
                    Some(base),
                    "nothing is dropped, nothing comes twice"
                );
            }
            UpdateKind::Full(_) => {}
        }
        self.accept(&update).await;
        Ok(update)
    }

    /// Takes updates until it has `revision`; the revisions on the way, that one included.
    pub async fn reach(&mut self, revision: &Revision) -> Vec<Revision> {
        let mut way = Vec::new();
        while way.last() != Some(revision) {
            way.push(self.take().await.unwrap().revision);
        }
        way
    }

    /// How the stream ends; no update may come before.
    pub async fn end(&mut self) -> Status {
        match self.next().await {
            Ok(None) => Status::ok(""),
            Ok(Some(update)) => panic!("{} instead of an end", update.revision),
            Err(status) => status,
        }
    }

    /// Why the stream breaks. Updates before that are taken.
    pub async fn broken(&mut self) -> Status {
        loop {
            if let Err(status) = self.take().await {
                return status;
            }
        }
    }

    async fn accept(&mut self, update: &Update) {
        let is_current = update.kind == UpdateKind::Current;
        self.memory.applied = Some(update.revision.clone());
        self.memory.position = update.position.clone();
        if !is_current {
            // A table that stays as it is has gone on from nothing.
            self.memory.superseded = update.superseded.clone();
        }
        let outcome = if is_current { Outcome::Unchanged } else { Outcome::Applied };
        self.answer(&update.revision, outcome).await;
    }
}

async fn within<T>(patience: Duration, work: impl Future<Output = T>) -> T {
    timeout(patience, work).await.expect("this should have happened long ago")
}
