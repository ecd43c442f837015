//! An agent whose every word is the test's.

use std::time::Duration;

use flock_proto::v1::node_service_client::NodeServiceClient;
use flock_proto::{Ack, AgentMessage, Hello, MAX_MESSAGE_BYTES, Outcome, Position, Update, UpdateKind, v1};
use flock_shared::{Revision, Superseded};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::compiler::patiently;
use super::objects::node_name;

pub(super) struct Agent {
    words: mpsc::Sender<v1::AgentMessage>,
    updates: Streaming<v1::Update>,
}

impl Agent {
    /// Opens a stream and says nothing.
    pub(super) async fn silent(channel: Channel) -> Self {
        let (words, messages) = mpsc::channel(16);
        let mut client = NodeServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let opened = patiently(client.subscribe(ReceiverStream::new(messages))).await;
        Self { words, updates: opened.unwrap().into_inner() }
    }

    pub(super) async fn hello(channel: Channel, node: usize, applied: Option<Revision>) -> Self {
        Self::hello_after(channel, node, applied, Superseded::default()).await
    }

    /// The same, with a table that has gone on from others.
    pub(super) async fn hello_after(
        channel: Channel,
        node: usize,
        applied: Option<Revision>,
        superseded: Superseded,
    ) -> Self {
        Self::introduced(channel, Hello { applied, superseded, ..hello_of(node) }).await
    }

    /// The same, with whatever it says.
    pub(super) async fn introduced(channel: Channel, hello: Hello) -> Self {
        let agent = Self::silent(channel).await;
        agent.say(AgentMessage::Hello(hello)).await;
        agent
    }

    /// Says what no compiler understands yet.
    pub(super) async fn say_something_new(&self) {
        self.words.send(v1::AgentMessage { message: None }).await.unwrap();
    }

    pub(super) async fn say(&self, message: AgentMessage) {
        self.words.send(message.into()).await.unwrap();
    }

    /// The next update.
    pub(super) async fn update(&mut self) -> Update {
        let update = patiently(self.updates.message()).await.unwrap().expect("the stream ended");
        update.try_into().unwrap()
    }

    /// How the stream ends; no update may come before.
    pub(super) async fn end(&mut self) -> Status {
        match patiently(self.updates.message()).await {
            Ok(None) => Status::ok(""),
            Ok(Some(update)) => panic!("{} instead of an end", update.revision),
            Err(status) => status,
        }
    }

    pub(super) async fn answer(&self, revision: &Revision, outcome: Outcome) {
        let error = if outcome.is_success() { "" } else { "on purpose" }.to_owned();
        let took = Duration::from_millis(1);
        self.say(AgentMessage::Ack(Ack {
            revision: Some(revision.clone()),
            outcome,
            error,
            took,
            drifts: 0,
        }))
        .await;
    }

    /// Takes the next update as a healthy agent does; what it reached, and how.
    pub(super) async fn apply(&mut self) -> (Revision, UpdateKind) {
        let Update { revision, kind, .. } = self.update().await;
        let outcome = if kind == UpdateKind::Current { Outcome::Unchanged } else { Outcome::Applied };
        self.answer(&revision, outcome).await;
        (revision, kind)
    }
}

/// The hello of an agent that has nothing.
pub(super) fn hello_of(node: usize) -> Hello {
    Hello {
        node: node_name(node),
        agent_version: env!("CARGO_PKG_VERSION").into(),
        nft_version: "nftables v1.0.6 (Lester Gooch #5)".into(),
        applied: None,
        position: Position::default(),
        drifts: 0,
        superseded: Superseded::default(),
        facts: None,
        refused: Vec::new(),
        grammar: 1,
        cni: false,
    }
}
