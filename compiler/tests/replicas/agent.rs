//! An agent without nft: it believes every update, and remembers what an agent remembers.

use std::time::Duration;

use flock_proto::v1::node_service_client::NodeServiceClient;
use flock_proto::{Ack, AgentMessage, Hello, Outcome, Position, Update, UpdateKind, v1};
use flock_shared::{Revision, Superseded};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};

use super::replica::Replica;

/// Whose agent it is.
pub(super) const NODE: &str = "n1";

/// Far beyond what a slow machine needs.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Agent {
    pub(super) applied: Option<Revision>,
    pub(super) position: Position,
    pub(super) superseded: Superseded,
}

/// An agent's stream to one replica.
pub(super) struct Stream {
    acks: mpsc::Sender<v1::AgentMessage>,
    updates: Streaming<v1::Update>,
}

impl Agent {
    /// Calls a replica.
    pub(super) async fn call(&self, replica: &Replica) -> Stream {
        let mut client = NodeServiceClient::new(
            Endpoint::from_shared(replica.url.clone()).unwrap().connect().await.unwrap(),
        );
        let (acks, messages) = mpsc::channel(4);
        let hello = Hello {
            node: NODE.parse().unwrap(),
            agent_version: String::new(),
            nft_version: String::new(),
            applied: self.applied.clone(),
            position: self.position.clone(),
            drifts: 0,
            superseded: self.superseded.clone(),
            facts: None,
            refused: Vec::new(),
            grammar: 1,
            cni: false,
        };
        acks.send(AgentMessage::Hello(hello).into()).await.unwrap();
        let updates = client.subscribe(ReceiverStream::new(messages)).await.unwrap().into_inner();
        Stream { acks, updates }
    }

    /// Takes the next update, and acknowledges it.
    pub(super) async fn next(&mut self, stream: &mut Stream) -> Result<Update, Status> {
        let message = tokio::time::timeout(LIMIT, stream.updates.message()).await.expect("an update is due");
        let update = Update::try_from(message?.expect("the stream goes on")).unwrap();
        let outcome = match &update.kind {
            UpdateKind::Current => {
                assert_eq!(self.applied.as_ref(), Some(&update.revision));
                Outcome::Unchanged
            }
            UpdateKind::Delta { base, .. } => {
                assert_eq!(self.applied.as_ref(), Some(base));
                Outcome::Applied
            }
            UpdateKind::Full(_) => Outcome::Applied,
        };
        self.applied = Some(update.revision.clone());
        self.position = update.position.clone();
        if outcome == Outcome::Applied {
            self.superseded = update.superseded.clone();
        }
        let revision = Some(update.revision.clone());
        let ack = Ack { revision, outcome, error: String::new(), took: Duration::ZERO, drifts: 0 };
        stream.acks.send(AgentMessage::Ack(ack).into()).await.unwrap();
        Ok(update)
    }

    /// Takes updates until it has `revision`; the revisions on the way, that one included.
    pub(super) async fn reach(&mut self, stream: &mut Stream, revision: &Revision) -> Vec<Revision> {
        let mut way = Vec::new();
        while way.last() != Some(revision) {
            way.push(self.next(stream).await.unwrap().revision);
        }
        way
    }
}

impl Stream {
    /// Whether an update is there already.
    pub(super) async fn is_told_something(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(50), self.updates.message()).await.is_ok()
    }
}
