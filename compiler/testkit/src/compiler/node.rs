//! The node service: each stream of an agent becomes a [`Session`], each call of what CNI did a [`CniCall`].

use std::time::Duration;

use flock_proto::v1::node_service_server::NodeService;
use flock_proto::{Ack, AgentMessage, Attach, Attached, Detach, Drops, Flows, Hello, NodeFacts, Outcome, v1};
use flock_shared::cni::{Reach, Sandbox};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::patiently;
use crate::patience::patient;
use crate::wait::within_real_time;

/// One stream, seen from the compiler. Dropping it closes the stream.
#[derive(Debug)]
pub struct Session {
    /// How the agent introduced itself.
    pub hello: Hello,
    // Without bounds: what a test does not read must not hold up what it waits for.
    acks: mpsc::UnboundedReceiver<Ack>,
    facts: mpsc::UnboundedReceiver<NodeFacts>,
    questions: mpsc::UnboundedReceiver<Flows>,
    sandboxes: mpsc::UnboundedReceiver<Vec<Sandbox>>,
    drops: mpsc::UnboundedReceiver<Drops>,
    updates: mpsc::Sender<Result<v1::Update, Status>>,
}

impl Session {
    /// Sends an update.
    pub async fn send(&self, update: v1::Update) {
        patiently(self.updates.send(Ok(update))).await.unwrap();
    }

    /// Ends the stream with an error.
    pub async fn fail(&self) {
        self.fail_with(Status::unavailable("on purpose")).await;
    }

    /// Ends the stream with this error.
    pub async fn fail_with(&self, status: Status) {
        patiently(self.updates.send(Err(status))).await.unwrap();
    }

    /// The next ack.
    pub async fn ack(&mut self) -> Ack {
        patiently(self.acks.recv()).await.expect("the agent closed the stream")
    }

    /// The next ack, which may take so long.
    pub async fn ack_within(&mut self, limit: Duration) -> Ack {
        let acked = within_real_time(patient(limit), self.acks.recv()).await;
        acked.expect("the agent should have answered").expect("the agent closed the stream")
    }

    /// Sends an update and gives the answer.
    pub async fn ask(&mut self, update: v1::Update) -> Ack {
        self.send(update).await;
        self.ack().await
    }

    /// Sends an update that must succeed.
    pub async fn apply(&mut self, update: v1::Update) {
        let ack = self.ask(update).await;
        assert_eq!((ack.outcome, ack.error.as_str()), (Outcome::Applied, ""));
    }

    /// The next question about connections.
    pub async fn question(&mut self) -> Flows {
        patiently(self.questions.recv()).await.expect("the agent closed the stream")
    }

    /// Returns true if a question has come that nobody has looked at.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.questions.is_empty()
    }

    /// What the agent says of its node next.
    pub async fn facts(&mut self) -> NodeFacts {
        patiently(self.facts.recv()).await.expect("the agent closed the stream")
    }

    /// The sandboxes of the node, as the agent says them next.
    pub async fn sandboxes(&mut self) -> Vec<Sandbox> {
        patiently(self.sandboxes.recv()).await.expect("the agent closed the stream")
    }

    /// What the agent tells of drops next.
    pub async fn drops(&mut self) -> Drops {
        patiently(self.drops.recv()).await.expect("the agent closed the stream")
    }

    /// Returns true if sandboxes have been said that nobody has looked at.
    #[must_use]
    pub fn has_sandboxes(&self) -> bool {
        !self.sandboxes.is_empty()
    }

    /// Waits until the agent has closed its half.
    pub async fn end(&mut self) {
        while patiently(self.acks.recv()).await.is_some() {}
    }
}

/// What the agent says that CNI did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CniChange {
    /// There is a sandbox.
    Attach(Attach),
    /// There is one less.
    Detach(Detach),
}

/// A call that waits for its answer.
#[derive(Debug)]
pub struct CniCall {
    /// What the agent says.
    pub said: CniChange,
    /// What the agent shows itself to be.
    pub authorization: Option<String>,
    answer: oneshot::Sender<Result<Attached, Status>>,
}

impl CniCall {
    /// `+id` or `-id`.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.said {
            CniChange::Attach(call) => format!("+{}", call.sandbox.id),
            CniChange::Detach(call) => format!("-{}", call.sandbox),
        }
    }

    /// Answers it.
    pub fn answer(self, answer: Result<Attached, Status>) {
        // Who waits for it may have been killed.
        let _ = self.answer.send(answer);
    }

    /// Answers that all nodes have it.
    pub fn done(self) {
        self.answer(Ok(Attached { reach: Reach::Everywhere, behind: Vec::new() }));
    }
}

pub(super) struct NodeServer {
    pub(super) sessions: mpsc::UnboundedSender<Session>,
    pub(super) calls: mpsc::UnboundedSender<CniCall>,
}

impl NodeServer {
    async fn call<T>(
        &self,
        request: Request<T>,
        said: impl FnOnce(T) -> CniChange,
    ) -> Result<Response<v1::AttachReply>, Status> {
        let (answer, answered) = oneshot::channel();
        let authorization = request.metadata().get("authorization");
        let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        let said = said(request.into_inner());
        let nobody = || Status::unavailable("nobody answers");
        self.calls.send(CniCall { said, authorization, answer }).map_err(|_| nobody())?;
        let answer = answered.await.map_err(|_| nobody())?;
        answer.map(|attached| Response::new(attached.into()))
    }
}

#[tonic::async_trait]
impl NodeService for NodeServer {
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
        let (ack_inlet, acks) = mpsc::unbounded_channel();
        let (facts_inlet, facts) = mpsc::unbounded_channel();
        let (question_inlet, questions) = mpsc::unbounded_channel();
        let (sandbox_inlet, sandboxes) = mpsc::unbounded_channel();
        let (drop_inlet, drops) = mpsc::unbounded_channel();
        let (updates, mut relayed) = mpsc::channel(1);
        let (outbound, stream) = mpsc::channel(1);
        // Either side's end is the stream's: the test drops its session, or the agent closes its half.
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    message = messages.message() => {
                        let Ok(Some(message)) = message else { return };
                        let is_heard = match AgentMessage::try_from(message) {
                            Ok(AgentMessage::Ack(ack)) => ack_inlet.send(ack).is_ok(),
                            Ok(AgentMessage::Facts(facts)) => facts_inlet.send(facts).is_ok(),
                            Ok(AgentMessage::Sandboxes(all)) => sandbox_inlet.send(all).is_ok(),
                            Ok(AgentMessage::Flows(flows)) => question_inlet.send(flows).is_ok(),
                            Ok(AgentMessage::Drops(drops)) => drop_inlet.send(drops).is_ok(),
                            Ok(AgentMessage::Hello(_)) | Err(_) => false,
                        };
                        if !is_heard {
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
        // A test that has ended wants no more sessions.
        let _ = self.sessions.send(Session { hello, acks, facts, questions, sandboxes, drops, updates });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn attach(&self, request: Request<v1::AttachRequest>) -> Result<Response<v1::AttachReply>, Status> {
        self.call(request, |call| CniChange::Attach(call.try_into().unwrap())).await
    }

    async fn detach(&self, request: Request<v1::DetachRequest>) -> Result<Response<v1::AttachReply>, Status> {
        self.call(request, |call| CniChange::Detach(call.try_into().unwrap())).await
    }
}
