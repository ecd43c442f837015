//! An agent's stream, with a token or without.

use std::time::Duration;

use flock_proto::v1::node_service_client::NodeServiceClient;
use flock_proto::{Ack, AgentMessage, Hello, Outcome, Position, Update, UpdateKind, v1};
use flock_shared::token::BearerToken;
use flock_shared::{Revision, Superseded};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::cluster::PATIENCE;

pub(super) struct Stream {
    messages: mpsc::Sender<v1::AgentMessage>,
    updates: Streaming<v1::Update>,
    pub(super) applied: Option<Revision>,
}

impl Stream {
    /// Says hello for `node`.
    pub(super) async fn open(
        channel: Channel,
        token: Option<&BearerToken>,
        node: &str,
    ) -> Result<Self, Status> {
        let hello = Hello {
            node: node.parse().unwrap(),
            agent_version: String::new(),
            nft_version: String::new(),
            applied: None,
            position: Position::default(),
            drifts: 0,
            superseded: Superseded::default(),
            facts: None,
            refused: Vec::new(),
            grammar: 1,
            cni: false,
        };
        let stream = Self::silent(channel, token).await?;
        // The stream may have ended already, which the next update tells.
        drop(stream.messages.send(AgentMessage::Hello(hello).into()).await);
        Ok(stream)
    }

    /// Says nothing.
    pub(super) async fn silent(channel: Channel, token: Option<&BearerToken>) -> Result<Self, Status> {
        let (messages, outbound) = mpsc::channel(4);
        let mut request = Request::new(ReceiverStream::new(outbound));
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", token.authorization());
        }
        let updates = NodeServiceClient::new(channel).subscribe(request).await?.into_inner();
        Ok(Self { messages, updates, applied: None })
    }

    /// Takes the next update, which must build on the one before, and acknowledges it.
    pub(super) async fn next(&mut self) -> Result<Update, Status> {
        let message = timeout(PATIENCE, self.updates.message()).await.expect("an update is due");
        let update = Update::try_from(message?.expect("the stream goes on")).unwrap();
        if let UpdateKind::Delta { base, .. } = &update.kind {
            assert_eq!(self.applied.as_ref(), Some(base), "nothing is dropped and nothing comes twice");
        }
        self.applied = Some(update.revision.clone());
        let (revision, outcome) = (Some(update.revision.clone()), Outcome::Applied);
        let ack = Ack { revision, outcome, error: String::new(), took: Duration::ZERO, drifts: 0 };
        // The stream may have ended meanwhile, which the next update tells.
        drop(self.messages.send(AgentMessage::Ack(ack).into()).await);
        Ok(update)
    }

    /// Why it ends. Updates on the way are taken.
    pub(super) async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}

/// The status that a stream which must be refused ends with.
pub(super) async fn refused(channel: Channel, token: Option<&BearerToken>, node: &str) -> Status {
    match Stream::open(channel, token, node).await {
        Err(status) => status,
        Ok(mut stream) => stream.next().await.expect_err("it was served"),
    }
}
