//! The agents' stream: the newest state out, acknowledgements in.
//!
//! One update is under way at a time; states that come meanwhile overtake each other on the board, so a slow agent
//! skips stale scripts and a stream holds no queue.

use std::pin::Pin;
use std::time::Duration;

use flock_proto::v1::node_service_server::NodeService;
use flock_proto::{Ack, AgentMessage, Hello, Outcome, Update, UpdateKind, v1};
use flock_shared::{NodeName, Revision};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status, Streaming};

use super::Context;
use super::caught_up::{self, Limits, Stamp};
use crate::engine::{Desired, Presence, Published};
use crate::fleet::StreamId;

/// How long an agent may take to say hello.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// The first and the longest pause before an update that was refused is sent again.
const RESEND_FIRST: Duration = Duration::from_secs(1);
const RESEND_LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Node {
    context: Context,
}

impl Node {
    pub(super) const fn new(context: Context) -> Self {
        Self { context }
    }
}

type Updates = Pin<Box<dyn Stream<Item = Result<v1::Update, Status>> + Send>>;

#[tonic::async_trait]
impl NodeService for Node {
    type SubscribeStream = Updates;

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Updates>, Status> {
        let mut messages = request.into_inner();
        let context = self.context.clone();
        // One place: the next update is made only when the last one has gone to the transport.
        let (updates, outgoing) = mpsc::channel(1);
        // Ends with the stream and tells the agent why; a panic ends the process (`panic = "abort"`).
        tokio::spawn(async move {
            let ended = match hello(&mut messages).await {
                Ok(hello) => stream(&context, &hello, messages, &updates).await,
                Err(status) => Err(status),
            };
            if let Err(status) = ended {
                // The agent may have gone already.
                drop(updates.send(Err(status)).await);
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

async fn hello(messages: &mut Streaming<v1::AgentMessage>) -> Result<Hello, Status> {
    let first = tokio::time::timeout(HELLO_LIMIT, messages.next())
        .await
        .map_err(|_| Status::deadline_exceeded("no hello within 10 s"))?
        .ok_or_else(|| Status::invalid_argument("the stream ended before a hello"))??;
    match AgentMessage::try_from(first) {
        Ok(AgentMessage::Hello(hello)) => Ok(hello),
        Ok(AgentMessage::Ack(_)) => Err(Status::invalid_argument("the first message must be a hello")),
        Err(error) => Err(Status::invalid_argument(error.to_string())),
    }
}

/// Serves one agent until it goes away or the process stops.
async fn stream(
    context: &Context,
    hello: &Hello,
    mut messages: Streaming<v1::AgentMessage>,
    updates: &mpsc::Sender<Result<v1::Update, Status>>,
) -> Result<(), Status> {
    let node = &hello.node;
    let desired =
        context.engine.subscribe(node.clone()).await.map_err(|e| Status::unavailable(e.to_string()))?;
    let _open = Open::new(context, hello);
    tracing::info!(%node, version = hello.agent_version, applied = ?hello.applied, "agent connected");
    let Some(stamp) =
        caught_up::wait(context, Limits::DEFAULT, hello, &desired, &mut messages, updates).await?
    else {
        return Ok(());
    };
    let session = Session { context, node, stamp, sent: None, resend: None, pause: RESEND_FIRST };
    let ended = session.run(desired, hello.applied.clone(), messages, updates).await;
    match &ended {
        Ok(()) => tracing::info!(%node, "agent disconnected"),
        // The agent vanished, or this process is about to: neither is the agent's fault.
        Err(status) if matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unknown) => {
            tracing::info!(%node, reason = status.message(), "agent disconnected");
        }
        Err(status) => {
            tracing::warn!(%node, code = ?status.code(), reason = status.message(), "stream ended");
        }
    }
    ended
}

/// Counts a stream as open for as long as it lives, however it ends.
struct Open<'a> {
    context: &'a Context,
    node: &'a NodeName,
    id: StreamId,
}

impl<'a> Open<'a> {
    fn new(context: &'a Context, hello: &'a Hello) -> Self {
        context.metrics.streams.inc();
        Self { context, node: &hello.node, id: context.fleet.opened(hello) }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.context.metrics.streams.dec();
        self.context.fleet.closed(self.node, self.id);
    }
}

struct Session<'a> {
    context: &'a Context,
    node: &'a NodeName,
    stamp: Stamp,
    /// The update that has been sent last, and whether its ack is still out.
    sent: Option<(Revision, Awaiting)>,
    /// When to send the desired state once more although it was sent before.
    resend: Option<Instant>,
    pause: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaiting {
    Ack,
    Nothing,
}

impl Session<'_> {
    async fn run(
        mut self,
        mut desired: Desired,
        applied: Option<Revision>,
        mut messages: Streaming<v1::AgentMessage>,
        updates: &mpsc::Sender<Result<v1::Update, Status>>,
    ) -> Result<(), Status> {
        let mut stopping = self.context.stopping.clone();
        let mut applied = applied;
        loop {
            let due = self.due(&mut desired);
            let resend = self.resend;
            tokio::select! {
                permit = updates.reserve(), if due.is_some() => {
                    let (Ok(permit), Some(next)) = (permit, due) else { return Ok(()) };
                    permit.send(Ok(self.update(&next, applied.take().as_ref())));
                }
                message = messages.next() => match message {
                    None => return Ok(()),
                    Some(message) => self.message(message?)?,
                },
                changed = desired.changed() => changed.map_err(|_| Status::unavailable("the engine has stopped"))?,
                () = sleep_until(resend) => {}
                () = updates.closed() => return Ok(()),
                _ = stopping.wait_for(|stopping| *stopping) => {
                    return Err(Status::unavailable("the compiler is shutting down"));
                }
            }
        }
    }

    /// The state to send now, if any.
    fn due(&self, desired: &mut Desired) -> Option<std::sync::Arc<Published>> {
        let newest = desired.borrow_and_update().clone()?;
        match &self.sent {
            Some((_, Awaiting::Ack)) => None,
            Some((revision, Awaiting::Nothing)) if *revision == newest.revision => {
                self.resend.is_some_and(|at| at <= Instant::now()).then_some(newest)
            }
            _ => Some(newest),
        }
    }

    fn update(&mut self, next: &Published, applied: Option<&Revision>) -> v1::Update {
        if next.presence == Presence::Unknown {
            let node = self.node;
            tracing::warn!(%node, "no Node object and no pod has this name: nothing is isolated there; is it right?");
        }
        self.resend = None;
        self.sent = Some((next.revision.clone(), Awaiting::Ack));
        let kind = if applied == Some(&next.revision) {
            self.context.metrics.update("current");
            UpdateKind::Current
        } else {
            self.context.metrics.update("full");
            self.context.metrics.sent_bytes.inc_by(next.script.bytes().len() as u64);
            UpdateKind::Full(next.script.clone())
        };
        Update::new(next.revision.clone(), kind).at(self.stamp.position()).into()
    }

    fn message(&mut self, message: v1::AgentMessage) -> Result<(), Status> {
        match AgentMessage::try_from(message) {
            Ok(AgentMessage::Ack(ack)) => self.ack(&ack),
            Ok(AgentMessage::Hello(_)) => return Err(Status::invalid_argument("a second hello")),
            Err(error) => return Err(Status::invalid_argument(error.to_string())),
        }
        Ok(())
    }

    fn ack(&mut self, ack: &Ack) {
        let node = self.node;
        self.context.metrics.ack(ack.outcome);
        self.context.fleet.acknowledged(node, ack);
        if ack.outcome.is_success() {
            tracing::debug!(%node, outcome = ack.outcome.as_str(), took = ?ack.took, "acknowledged");
        } else {
            tracing::warn!(%node, outcome = ack.outcome.as_str(), error = ack.error, "update not applied");
        }
        let answers = |revision: &Revision| ack.revision.as_ref().is_none_or(|acked| acked == revision);
        let Some((revision, awaiting)) = self.sent.as_mut().filter(|(revision, _)| answers(revision)) else {
            return;
        };
        *awaiting = Awaiting::Nothing;
        if ack.outcome.is_success() {
            self.pause = RESEND_FIRST;
        } else if must_resend(ack.outcome) {
            tracing::info!(%node, %revision, pause = ?self.pause, "will be sent again");
            self.resend = Some(Instant::now() + self.pause);
            self.pause = (self.pause * 2).min(RESEND_LONGEST);
        }
    }
}

/// Whether the compiler must send an update again: what nft refused, the agent holds and tries again by itself.
const fn must_resend(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::HashMismatch | Outcome::BaseMismatch | Outcome::Malformed)
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
