//! No agent is rolled back: one that has applied more than this replica has read waits until the replica has caught
//! up, and after a while it is sent to another one.
//!
//! That the agent has the very state which this replica would send is no reason to serve it: a state that was left and
//! came back has the same revision, and a replica that lags has the way there still before it.

use flock_proto::{AgentMessage, Hello, Position, v1};
use flock_shared::NodeName;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use crate::engine::{Desired, EngineStopped, Gap, ReplicaProgress, Versions};
use crate::fleet;
use crate::service::context::Context;

/// The positions of what is sent on one stream.
#[derive(Debug)]
pub(super) struct StreamPosition {
    /// Where the agent was when it came; also what it knows of deletions that a replica which started later cannot.
    came: Versions,
    progress: watch::Receiver<ReplicaProgress>,
}

impl StreamPosition {
    /// The position of a state that was read before this is called.
    pub(super) fn position(&self) -> Position {
        let progress = self.progress.borrow();
        let seen = progress.newest_change().clone();
        // Versions that this replica has not reached are those of a store that is no more.
        if progress.gaps(&self.came).is_empty() { seen.join(&self.came).position() } else { seen.position() }
    }
}

/// Waits until this replica may serve the agent.
///
/// # Errors
/// When the agent should turn to another replica, or the stream ended.
pub(super) async fn wait(
    context: &Context,
    hello: &Hello,
    agent: &fleet::OpenStream,
    desired: &Desired,
    messages: &mut (impl Stream<Item = Result<v1::AgentMessage, Status>> + Unpin),
) -> Result<StreamPosition, Status> {
    let node = &hello.node;
    let wanted = Versions::of(&hello.position);
    let mut progress = context.engine.replica_progress();
    let mut desired = desired.clone();
    let mut stopping = context.stopping.clone();
    let deadline = Instant::now() + context.limits.lag;
    let mut waiting = None;
    loop {
        // Marked as seen before they are judged: a change that comes meanwhile has the loop go round again.
        let is_complete = desired.borrow_and_update().is_some();
        let gaps = progress.borrow_and_update().gaps(&wanted);
        if is_complete && gaps.is_empty() {
            context.fleet.within_reach(node);
            return Ok(StreamPosition { came: wanted, progress });
        }
        if is_complete && is_rewound(context, node, &wanted, &gaps) {
            tracing::error!(
                %node, gaps = listed(&gaps),
                "the agent has applied what the API server does not have; it is taken back to what there is"
            );
            context.metrics.rollbacks.inc();
            return Ok(StreamPosition { came: Versions::default(), progress });
        }
        // Counted from here on, so that an agent which is served at once never shows as waiting.
        if waiting.is_none() {
            tracing::info!(%node, gaps = listed(&gaps), "this replica has to catch up before it serves the agent");
            waiting = Some(Waiting::new(context));
        }
        tokio::select! {
            changed = desired.changed() => changed.map_err(|_| EngineStopped)?,
            changed = progress.changed() => changed.map_err(|_| EngineStopped)?,
            message = messages.next() => match message {
                None => return Err(Status::ok("")),
                Some(message) => acknowledge(context, agent, message?)?,
            },
            _ = stopping.wait_for(|stopping| *stopping) => {
                return Err(Status::unavailable("the compiler is shutting down"));
            }
            () = tokio::time::sleep_until(deadline) => {
                let reason = if gaps.is_empty() {
                    "this replica has not read the whole cluster yet".to_owned()
                } else {
                    format!("this replica lags behind: {}", listed(&gaps))
                };
                tracing::warn!(%node, reason, "the agent is sent to another replica");
                context.metrics.refusals.inc();
                return Err(Status::unavailable(reason));
            }
        }
    }
}

/// Returns true if what the agent has seen will never come: its position has been out of reach for a while, and the store
/// itself, asked meanwhile, is not where the agent was before.
fn is_rewound(context: &Context, node: &NodeName, wanted: &Versions, gaps: &[Gap]) -> bool {
    let progress = context.engine.replica_progress();
    let progress = progress.borrow();
    let since = context.fleet.out_of_reach(node, wanted, |earlier| !progress.gaps(earlier).is_empty());
    since.elapsed() >= context.limits.rewind && gaps.iter().all(|gap| progress.is_rewound(gap, since))
}

/// An agent that waits may still tell of a table that it has put back itself.
fn acknowledge(
    context: &Context,
    agent: &fleet::OpenStream,
    message: v1::AgentMessage,
) -> Result<(), Status> {
    if message.message.is_none() {
        // Of a later version: each side passes over what it does not know.
        return Ok(());
    }
    match AgentMessage::try_from(message) {
        Ok(AgentMessage::Ack(ack)) => {
            context.metrics.ack(&ack);
            context.metrics.drifts.inc_by(agent.acknowledged(&ack).into());
            Ok(())
        }
        // What it finds meanwhile is taken to the engine once it can be served.
        Ok(AgentMessage::Facts(facts)) => {
            agent.said(&facts);
            Ok(())
        }
        // It asks again: what it has is not known here yet.
        Ok(AgentMessage::Flows(_)) => Ok(()),
        Ok(AgentMessage::Sandboxes(_) | AgentMessage::Drops(_)) => Ok(()),
        Ok(AgentMessage::Hello(_)) => Err(Status::invalid_argument("a second hello")),
        Err(error) => Err(Status::invalid_argument(error.to_string())),
    }
}

fn listed(gaps: &[Gap]) -> String {
    gaps.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Counts an agent as waiting for as long as it does.
struct Waiting<'a> {
    context: &'a Context,
    since: Instant,
}

impl<'a> Waiting<'a> {
    fn new(context: &'a Context) -> Self {
        context.metrics.waiting.inc();
        Self { context, since: Instant::now() }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.context.metrics.waiting.dec();
        self.context.metrics.lagged(self.since.elapsed());
    }
}

#[cfg(test)]
#[path = "replica_lag_tests.rs"]
mod tests;
