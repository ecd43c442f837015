//! No agent is rolled back: one that has applied more than this replica has read waits until the replica has caught
//! up, and after a while it is sent to another one.
//!
//! That the agent has the very state which this replica would send is no reason to serve it: a state that was left and
//! came back has the same revision, and a replica that lags has the way there still before it.

use std::time::Duration;

use flock_proto::{AgentMessage, Hello, Position, v1};
use flock_shared::NodeName;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use super::Context;
use crate::engine::{Desired, Gap, Reach, Versions};

/// How long agents are asked to wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How long one is held before it is sent to another replica.
    hold: Duration,
    /// How long one is sent away by a replica whose own watches are live, before that replica concludes that what the
    /// agent has seen is no more: a store that was restored from a backup counts its versions anew.
    patience: Duration,
}

impl Limits {
    pub(super) const DEFAULT: Self =
        Self { hold: Duration::from_secs(30), patience: Duration::from_secs(300) };
}

type Updates = mpsc::Sender<Result<v1::Update, Status>>;

/// The positions of what is sent on one stream.
#[derive(Debug)]
pub(super) struct Stamp {
    /// Where the agent was when it came; also what it knows of deletions that a replica which started later cannot.
    came: Versions,
    reach: watch::Receiver<Reach>,
}

impl Stamp {
    /// The position of a state that was read before this is called.
    pub(super) fn position(&self) -> Position {
        let reach = self.reach.borrow();
        let seen = reach.seen().clone();
        // Versions that this replica has not reached are those of a store that is no more.
        if reach.lacks(&self.came).is_empty() { seen.join(&self.came).position() } else { seen.position() }
    }
}

/// Waits until this replica may serve the agent; `None` if the agent went away meanwhile.
///
/// # Errors
/// When the agent should turn to another replica, or the stream broke.
pub(super) async fn wait(
    context: &Context,
    limits: Limits,
    hello: &Hello,
    desired: &Desired,
    messages: &mut (impl Stream<Item = Result<v1::AgentMessage, Status>> + Unpin),
    updates: &Updates,
) -> Result<Option<Stamp>, Status> {
    let node = &hello.node;
    let wanted = Versions::of(&hello.position);
    let mut reach = context.engine.reach();
    let mut desired = desired.clone();
    let mut stopping = context.stopping.clone();
    let deadline = Instant::now() + limits.hold;
    let mut waiting = None;
    loop {
        let is_complete = desired.borrow_and_update().is_some();
        let gaps = reach.borrow_and_update().lacks(&wanted);
        if is_complete && gaps.is_empty() {
            context.fleet.within_reach(node);
            return Ok(Some(Stamp { came: wanted, reach }));
        }
        if is_complete && is_rewound(context, limits, node, &wanted, &gaps) {
            tracing::error!(
                %node, gaps = listed(&gaps),
                "the agent has applied what the API server does not have; it is taken back to what there is"
            );
            context.metrics.rollbacks.inc();
            return Ok(Some(Stamp { came: Versions::default(), reach }));
        }
        if waiting.is_none() {
            tracing::info!(%node, gaps = listed(&gaps), "this replica has to catch up before it serves the agent");
            waiting = Some(Waiting::new(context));
        }
        tokio::select! {
            changed = desired.changed() => changed.map_err(|_| Status::unavailable("the engine has stopped"))?,
            changed = reach.changed() => changed.map_err(|_| Status::unavailable("the engine has stopped"))?,
            message = messages.next() => match message {
                None => return Ok(None),
                Some(message) => acknowledge(context, hello, message?)?,
            },
            () = updates.closed() => return Ok(None),
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

/// Whether what the agent has seen will never come: its position has been out of reach for long, although the watches
/// have been live all the while.
fn is_rewound(context: &Context, limits: Limits, node: &NodeName, wanted: &Versions, gaps: &[Gap]) -> bool {
    let reach = context.engine.reach();
    let reach = reach.borrow();
    let since = context.fleet.out_of_reach(node, wanted, |earlier| !reach.lacks(earlier).is_empty());
    let now = Instant::now();
    now.duration_since(since) >= limits.patience && gaps.iter().all(|gap| reach.is_live(gap.kind, since, now))
}

/// An agent that waits may still tell of a table that it has put back itself.
fn acknowledge(context: &Context, hello: &Hello, message: v1::AgentMessage) -> Result<(), Status> {
    match AgentMessage::try_from(message) {
        Ok(AgentMessage::Ack(ack)) => {
            context.metrics.ack(ack.outcome);
            context.fleet.acknowledged(&hello.node, &ack);
            Ok(())
        }
        Ok(AgentMessage::Hello(_)) => Err(Status::invalid_argument("a second hello")),
        Err(error) => Err(Status::invalid_argument(error.to_string())),
    }
}

fn listed(gaps: &[Gap]) -> String {
    gaps.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Counts an agent as waiting for as long as it does.
struct Waiting<'a>(&'a Context);

impl<'a> Waiting<'a> {
    fn new(context: &'a Context) -> Self {
        context.metrics.waiting.inc();
        Self(context)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.metrics.waiting.dec();
    }
}

#[cfg(test)]
#[path = "caught_up_tests.rs"]
mod tests;
