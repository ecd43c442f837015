//! One agent's stream, from its hello on. A stream has no task of its own: HTTP/2 asks it for the next update when it has
//! room for one.

use std::future::pending;
use std::sync::Arc;

use flock_compiler_core::nft::read::GRAMMAR_LEAST;
use flock_proto::{AgentMessage, Hello, v1};
use flock_shared::Revision;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tonic::{Code, Status, Streaming};

use super::dropped::StreamDrops;
use super::replica_lag;
use super::shared::NodeShared;
use super::subscription::{Outbound, StreamCount, Subscription, SubscriptionParts};
use crate::access::Grant;
use crate::facts;
use crate::service::connection::ConnectionHandle;
use crate::service::context::Context;

/// One stream.
pub(super) struct AgentStream {
    shared: Arc<NodeShared>,
    connection: ConnectionHandle,
    messages: Streaming<v1::AgentMessage>,
    stopping: watch::Receiver<bool>,
    /// What the agent was let in with, until it has said hello.
    grant: Option<Grant>,
    /// Once the agent has said hello.
    subscription: Option<Subscription>,
}

impl AgentStream {
    /// A stream that has just been opened by an agent that was let in.
    pub(super) fn new(
        shared: Arc<NodeShared>,
        grant: Grant,
        connection: ConnectionHandle,
        messages: Streaming<v1::AgentMessage>,
    ) -> Self {
        let stopping = shared.context.stopping.clone();
        Self { shared, connection, messages, stopping, grant: Some(grant), subscription: None }
    }

    /// Waits until there is an update to send; the status with which the stream ends, if it does.
    pub(super) async fn next(&mut self) -> Result<Outbound, Status> {
        if let Some(grant) = self.grant.take() {
            // In a box: it takes more room than all that comes after it.
            self.subscription = Some(Box::pin(self.open(grant)).await?);
        }
        let Self { shared, connection, messages, stopping, subscription: Some(subscription), .. } = self
        else {
            // A stream that could not be opened has ended with that, and is not asked again.
            return Err(Status::internal("a stream that was not opened"));
        };
        let next = tokio::select! {
            next = subscription.next(shared, messages) => next,
            () = raised(stopping) => Err(Status::unavailable("the compiler is shutting down")),
        };
        if let Err(status) = &next {
            if status.code() == Code::Unauthenticated || status.code() == Code::PermissionDenied {
                connection.deauthenticated();
            }
            subscription.farewell(status);
        }
        next
    }

    /// Waits for the hello, and until the agent can be served.
    async fn open(&mut self, grant: Grant) -> Result<Subscription, Status> {
        let hello = self.hello().await?;
        grant.check_node(&hello.node).inspect_err(|_| self.connection.deauthenticated())?;
        self.subscribe(hello, grant).await
    }

    async fn hello(&mut self) -> Result<Hello, Status> {
        let limit = self.shared.context.limits.hello;
        let first = timeout(limit, self.messages.next())
            .await
            .map_err(|_| Status::deadline_exceeded(format!("no hello within {limit:?}")))?
            .ok_or_else(|| Status::invalid_argument("the stream ended before a hello"))??;
        match AgentMessage::try_from(first) {
            Ok(AgentMessage::Hello(hello)) => Ok(hello),
            Ok(
                AgentMessage::Ack(_)
                | AgentMessage::Facts(_)
                | AgentMessage::Flows(_)
                | AgentMessage::Drops(_)
                | AgentMessage::Sandboxes(_),
            ) => Err(Status::invalid_argument("the first message must be a hello")),
            Err(error) => Err(Status::invalid_argument(error.to_string())),
        }
    }

    async fn subscribe(&mut self, hello: Hello, mut grant: Grant) -> Result<Subscription, Status> {
        let context = &self.shared.context;
        let Context { engine, fleet, .. } = context;
        let told = facts::of_hello(&hello);
        // Before its first state is read, so that no revocation is missed.
        let tells = self.shared.relay.subscribe();
        // What is published takes the facts into account once this answers: the first update is by them.
        let desired = engine.subscribe_agent(hello.node.clone(), told.clone()).await?;
        let applied = hello.applied.as_ref().map(Revision::as_str);
        tracing::info!(node = %hello.node, version = hello.agent_version, applied, "agent connected");
        if hello.grammar < GRAMMAR_LEAST {
            tracing::warn!(
                node = %hello.node, version = hello.agent_version, takes = hello.grammar, needed = GRAMMAR_LEAST,
                "the agent is older than these scripts: it is sent none and keeps the table that it has; update it"
            );
        }
        let fleet = fleet.open(&hello);
        let counted = StreamCount::new(&self.shared, &hello.node);
        context.metrics.drifts.inc_by(fleet.drifts().into());
        let position = tokio::select! {
            position = replica_lag::wait(context, &hello, &fleet, &desired, &mut self.messages) => position?,
            denied = grant.revoked() => {
                self.connection.deauthenticated();
                return Err(denied.into());
            }
        };
        // What it has said while it waited is due.
        let has_facts = fleet.facts().as_deref() != told.as_ref();
        let drops = StreamDrops::new(&context.drops, hello.drops);
        let parts = SubscriptionParts { grant, desired, tells, position, fleet, drops, counted };
        Ok(Subscription::new(hello, parts, has_facts, context.limits))
    }
}

/// Until the flag is up. If nobody can raise it any more, never.
async fn raised(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|up| *up).await.is_err() {
        pending::<()>().await;
    }
}
