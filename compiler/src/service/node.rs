//! One agent's stream: the newest state out, answers in. What to send is [`Session`]'s to decide.
//!
//! A stream has no task of its own: HTTP/2 asks it for the next update when it has room for one.

use std::future::pending;
use std::sync::Arc;

use flock_compiler_core::forget::{Elsewhere, isolated, lost};
use flock_compiler_core::object::Facts;
use flock_proto::{Ack, AgentMessage, Answer, Flows, Forget, Hello, Update, UpdateKind, v1};
use flock_shared::prefixes::Prefixes;
use flock_shared::{NodeName, Revision, Script, Superseded};
use http::HeaderMap;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamExt as _;
use tonic::{Code, Status, Streaming};

use super::Context;
use super::admission;
use super::attach::Calls;
use super::caught_up::{self, Stamp};
use super::flows::{self, Others};
use super::link::Link;
use super::pace::{Pace, Rendered, Turn};
use super::panicked::Alarm;
use super::quota::Quotas;
use super::session::{Due, Kind, Session, Verdict};
use crate::access::Pass;
use crate::engine::{Desired, EngineStopped, Presence, Published, Revocations};
use crate::{facts, fleet};

/// What the streams share.
#[derive(Debug, Clone)]
pub(super) struct Node(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    context: Context,
    pace: Arc<Pace>,
    quotas: Quotas,
    alarm: Alarm,
}

impl Node {
    pub(super) fn new(context: Context, pace: Arc<Pace>, alarm: Alarm) -> Self {
        Self(Arc::new(Shared { context, pace, quotas: Quotas::default(), alarm }))
    }

    /// Answers calls about sandboxes.
    pub(super) fn calls(&self) -> Calls {
        Calls { context: self.0.context.clone(), quotas: self.0.quotas.clone() }
    }

    /// A stream that has just been opened by a request with `headers`.
    pub(super) fn agent(
        &self,
        headers: HeaderMap,
        link: Link,
        messages: Streaming<v1::AgentMessage>,
    ) -> Agent {
        Agent {
            headers,
            link,
            messages,
            stopping: self.0.context.stopping.clone(),
            open: None,
            _alarm: self.0.alarm.clone(),
            shared: Arc::clone(&self.0),
        }
    }
}

/// An update, and the room in memory that its script takes until it is written.
pub(super) struct Outbound {
    pub(super) update: Update,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// One stream.
pub(super) struct Agent {
    shared: Arc<Shared>,
    headers: HeaderMap,
    link: Link,
    messages: Streaming<v1::AgentMessage>,
    stopping: watch::Receiver<bool>,
    /// Once the agent has said hello.
    open: Option<Open>,
    _alarm: Alarm,
}

struct Open {
    node: NodeName,
    pass: Pass,
    desired: Desired,
    session: Session<Published>,
    facts: Said,
    /// The agent's last question about connections, until it is answered.
    asked: Option<Box<Flows>>,
    abroad: Box<Abroad>,
    stamp: Stamp,
    fleet: fleet::Stream,
    _counted: Counted,
}

/// What other nodes revoke. In a box: it is rare, and streams are many.
struct Abroad {
    revocations: Revocations,
    /// Addresses of which the agent is to be told.
    lost: Prefixes,
}

/// What the agent has said of its node, which the fleet keeps.
struct Said {
    /// When the engine is to be told of it; `None`: it knows.
    due: Option<Instant>,
    /// When it was told last.
    last: Instant,
}

/// Counts a stream for as long as it lives.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.context.metrics.streams.inc();
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.context.metrics.streams.dec();
    }
}

impl Agent {
    /// Waits until there is an update to send; the status with which the stream ends, if it does.
    pub(super) async fn next(&mut self) -> Result<Outbound, Status> {
        if self.open.is_none() {
            // In a box: it takes more room than all that comes after it.
            self.open = Some(Box::pin(self.open()).await?);
        }
        let Self { shared, link, messages, stopping, open: Some(open), .. } = self else {
            return Err(Status::internal("a stream that was not opened"));
        };
        let next = tokio::select! {
            next = open.next(shared, messages) => next,
            () = raised(stopping) => Err(Status::unavailable("the compiler is shutting down")),
        };
        if let Err(status) = &next {
            if status.code() == Code::Unauthenticated || status.code() == Code::PermissionDenied {
                link.estrange();
            }
            open.farewell(status);
        }
        next
    }

    /// Lets the agent in and waits until it can be served.
    async fn open(&mut self) -> Result<Open, Status> {
        let headers = std::mem::take(&mut self.headers);
        let admitting = self.shared.context.access.agent(&headers, self.link.peer());
        let pass = admission::admit(&self.link, admitting).await?;
        let hello = self.hello().await?;
        pass.admits(&hello.node).inspect_err(|_| self.link.estrange())?;
        self.subscribe(hello, pass).await
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
                | AgentMessage::Sandboxes(_),
            ) => Err(Status::invalid_argument("the first message must be a hello")),
            Err(error) => Err(Status::invalid_argument(error.to_string())),
        }
    }

    async fn subscribe(&mut self, hello: Hello, mut pass: Pass) -> Result<Open, Status> {
        let context = &self.shared.context;
        let Context { engine, fleet, limits, .. } = context;
        let told = facts::of_hello(&hello);
        // Before its first state is read, so that none is missed.
        let abroad = Box::new(Abroad { revocations: engine.revocations(), lost: Prefixes::default() });
        let desired = engine.introduce(hello.node.clone(), told.clone()).await.map_err(stopped)?;
        let applied = hello.applied.as_ref().map(Revision::as_str);
        tracing::info!(node = %hello.node, version = hello.agent_version, applied, "agent connected");
        let (fleet, counted) = (fleet.open(&hello), Counted::new(&self.shared));
        context.metrics.drifts.inc_by(fleet.drifts().into());
        let stamp = tokio::select! {
            stamp = caught_up::wait(context, &hello, &fleet, &desired, &mut self.messages) => stamp?,
            denied = pass.revoked() => {
                self.link.estrange();
                return Err(denied.into());
            }
        };
        let session = Session::new(hello.applied, hello.superseded, *limits);
        // What it has said while it waited is due.
        let (last, is_news) = (Instant::now(), fleet.facts().as_deref() != told.as_ref());
        let facts = Said { due: is_news.then_some(last), last };
        Ok(Open {
            node: hello.node,
            pass,
            desired,
            session,
            facts,
            asked: None,
            abroad,
            stamp,
            fleet,
            _counted: counted,
        })
    }
}

impl Open {
    /// Reads answers until there is an update to send.
    async fn next(
        &mut self,
        shared: &Shared,
        messages: &mut Streaming<v1::AgentMessage>,
    ) -> Result<Outbound, Status> {
        let mut turn = None;
        loop {
            if self.facts.due.is_some_and(|due| due <= Instant::now()) {
                self.facts = Said { due: None, last: Instant::now() };
                if let Some(facts) = self.fleet.facts() {
                    // In a box: facts are rare, and a stream has room for the largest future that it ever awaits.
                    let observing = shared.context.engine.observe(Facts::clone(&facts));
                    Box::pin(observing).await.map_err(stopped)?;
                }
            }
            if let Some(flows) = self.asked.take()
                && let Some(update) = Box::pin(self.answer(shared, &flows)).await?
            {
                return Ok(Outbound { update, room: None });
            }
            let newest = self.desired.borrow_and_update().clone();
            self.reached(newest.as_deref());
            let due = newest.as_ref().map_or(Due::Nothing, |newest| self.session.due(newest, Instant::now()));
            self.fleet.closed(self.session.closed());
            let (base, newest) = match due {
                Due::From(base, newest) => (Some(base), Ok(newest)),
                Due::Full(newest) => (None, Ok(newest)),
                Due::Current(state) => return Ok(self.current(shared, state)),
                Due::Overdue => return Err(overdue(shared)),
                Due::At(instant) => (None, Err(Some(instant))),
                Due::Nothing => (None, Err(None)),
            };
            let wake = match newest {
                Err(wake) => match self.session.rests().filter(|_| !self.abroad.lost.is_empty()) {
                    Some(state) => return Ok(self.look(shared, state)),
                    None => wake,
                },
                Ok(newest) => {
                    let way = base.and_then(|base| {
                        let delta = newest.delta_from(&base, self.session.superseded());
                        delta.map(|delta| (base, delta))
                    });
                    match (way, turn.take()) {
                        (Some((base, delta)), _) if delta.size() < shared.context.limits.large => {
                            let leaves = delta.superseded();
                            return Ok(self.delta(shared, newest, &base, (delta.script(), leaves), None));
                        }
                        // The wait may be long; what is the newest is asked again after it.
                        (_, None) => {
                            turn = Some(shared.pace.turn().await);
                            continue;
                        }
                        (Some((base, delta)), Some(turn)) => {
                            let leaves = delta.superseded();
                            let Rendered { script, room } =
                                shared.pace.render(turn, move || delta.script()).await;
                            return Ok(self.delta(shared, newest, &base, (script, leaves), room));
                        }
                        (None, Some(turn)) => return Ok(self.full(shared, newest, turn).await),
                    }
                }
            };
            turn = None;
            tokio::select! {
                message = messages.next() => match message {
                    None => return Err(Status::ok("")),
                    Some(message) => self.message(shared, message?)?,
                },
                changed = self.desired.changed() => changed.map_err(|_| stopped(EngineStopped))?,
                () = at(wake) => {}
                () = at(self.facts.due) => {}
                // In a box: nothing else that is waited for here takes as much room.
                revoked = Box::pin(self.abroad.revocations.recv()) => self.revoked(revoked)?,
                denied = self.pass.revoked() => return Err(denied.into()),
            }
        }
    }

    /// Says how far the node has come. What it has may be the newest without an update: back and forth comes to nothing.
    fn reached(&self, newest: Option<&Published>) {
        let Some(state) = self.session.state() else { return };
        let is_same =
            |newest: &&Published| newest.revision() == state.revision() && !self.session.is_under_way();
        let newest = newest.filter(is_same);
        self.fleet.reached(newest.unwrap_or(state).sequence());
    }

    fn current(&mut self, shared: &Shared, state: Arc<Published>) -> Outbound {
        // What was revoked elsewhere while there was no stream is not known.
        self.abroad.lost = isolated(state.output());
        self.look(shared, state)
    }

    /// Has the agent, which has the state, look at connections.
    fn look(&mut self, shared: &Shared, state: Arc<Published>) -> Outbound {
        shared.context.metrics.update("current");
        let leaves = self.session.superseded().clone();
        let forget = Forget::Lost(std::mem::take(&mut self.abroad.lost));
        self.send(state, Kind::Current, (UpdateKind::Current, Some(forget)), leaves, None)
    }

    /// Other nodes have revoked something.
    fn revoked(&mut self, revoked: Result<Arc<Elsewhere>, RecvError>) -> Result<(), Status> {
        let newest = self.desired.borrow().clone();
        let Some(newest) = newest.as_deref() else { return Ok(()) };
        let lost = match revoked {
            Ok(revoked) => revoked.concerning(newest.output()),
            Err(RecvError::Lagged(_)) => isolated(newest.output()),
            Err(RecvError::Closed) => return Err(stopped(EngineStopped)),
        };
        if !lost.is_empty() {
            self.abroad.lost.extend(lost.iter().copied());
        }
        Ok(())
    }

    fn delta(
        &mut self,
        shared: &Shared,
        state: Arc<Published>,
        base: &Published,
        (script, leaves): (Script, Superseded),
        room: Option<OwnedSemaphorePermit>,
    ) -> Outbound {
        shared.context.metrics.update("delta");
        shared.context.metrics.sent_bytes.inc_by(script.bytes().len() as u64);
        let update = UpdateKind::Delta { base: base.revision().clone(), script };
        let mut lost = lost(base.output(), state.output());
        lost.extend(std::mem::take(&mut self.abroad.lost).iter().copied());
        let forget = (!lost.is_empty()).then_some(Forget::Lost(lost));
        self.send(state, Kind::Delta, (update, forget), leaves, room)
    }

    async fn full(&mut self, shared: &Shared, state: Arc<Published>, turn: Turn) -> Outbound {
        let rendered = Arc::clone(&state);
        let Rendered { script, room } = shared.pace.render(turn, move || rendered.full()).await;
        shared.context.metrics.update("full");
        shared.context.metrics.sent_bytes.inc_by(script.bytes().len() as u64);
        // What was allowed before is not known, neither here nor elsewhere.
        self.abroad.lost = Prefixes::default();
        let forget = Forget::Lost(isolated(state.output()));
        self.send(state, Kind::Full, (UpdateKind::Full(script), Some(forget)), Superseded::default(), room)
    }

    fn send(
        &mut self,
        state: Arc<Published>,
        kind: Kind,
        (update, forget): (UpdateKind, Option<Forget>),
        leaves: Superseded,
        room: Option<OwnedSemaphorePermit>,
    ) -> Outbound {
        if state.presence() == Presence::Unknown && kind != Kind::Delta {
            let node = &self.node;
            tracing::warn!(%node, "no Node object and no pod has this name: nothing is isolated there; is it right?");
        }
        let mut update = Update::new(state.revision().clone(), update).at(self.stamp.position());
        update.forget = forget;
        // An agent that is current keeps the list that it came with.
        if kind != Kind::Current {
            update = update.leaving(leaves.clone());
        }
        self.session.sent(state, kind, leaves, Instant::now());
        Outbound { update, room }
    }

    fn message(&mut self, shared: &Shared, message: v1::AgentMessage) -> Result<(), Status> {
        if message.message.is_none() {
            // Of a later version: each side passes over what it does not know.
            return Ok(());
        }
        match AgentMessage::try_from(message) {
            Ok(AgentMessage::Ack(ack)) => self.ack(shared, &ack),
            Ok(AgentMessage::Facts(facts)) => {
                self.fleet.said(&facts);
                self.facts.due.get_or_insert(self.facts.last + shared.context.limits.facts);
            }
            Ok(AgentMessage::Flows(flows)) => self.asked = Some(Box::new(flows)),
            Ok(AgentMessage::Sandboxes(all)) => shared.quotas.said(&shared.context, &self.node, all),
            Ok(AgentMessage::Hello(_)) => return Err(Status::invalid_argument("a second hello")),
            Err(error) => return Err(Status::invalid_argument(error.to_string())),
        }
        Ok(())
    }

    /// The answer to a question. An agent whose table is not known has none, and asks again later.
    async fn answer(&self, shared: &Shared, flows: &Flows) -> Result<Option<Update>, Status> {
        let newest = self.desired.borrow().clone();
        let Some(newest) = newest.as_deref() else { return Ok(None) };
        let mut states = [Some(newest), self.session.state().map(|state| &**state)].into_iter().flatten();
        let Some(stands) = states.find(|state| *state.revision() == flows.revision) else { return Ok(None) };
        let addresses = flows::asked_elsewhere(flows, newest.output());
        let others = if addresses.is_empty() {
            Others::new()
        } else {
            let asking = shared.context.engine.outputs(addresses.into_iter().collect());
            asking.await.map_err(stopped)?
        };
        let forget = flows::answer(flows, stands.output(), newest.output(), &others);
        if let Forget::Answer { answer: Answer::Denied(denied), .. } = &forget {
            shared.context.metrics.cut.inc_by(denied.len() as u64);
        }
        let update = Update::new(flows.revision.clone(), UpdateKind::Current);
        Ok(Some(update.at(self.stamp.position()).forgetting(forget)))
    }

    fn ack(&mut self, shared: &Shared, ack: &Ack) {
        let node = &self.node;
        shared.context.metrics.ack(ack.outcome);
        let drifts = self.fleet.acknowledged(ack);
        if drifts > 0 {
            shared.context.metrics.drifts.inc_by(drifts.into());
            tracing::warn!(%node, drifts, "the table was changed by something else on the node");
        }
        if ack.outcome.is_success() {
            tracing::debug!(%node, outcome = ack.outcome.as_str(), took = ?ack.took, "acknowledged");
        } else {
            tracing::warn!(%node, outcome = ack.outcome.as_str(), error = ack.error, "update not applied");
        }
        match self.session.answered(ack, Instant::now()) {
            Verdict::Settled => {}
            Verdict::Resend(pause) => tracing::info!(%node, ?pause, "a full script will be sent"),
            Verdict::Closed => {
                tracing::error!(%node, "the node refuses its table: its isolated pods are denied everything");
            }
        }
        self.fleet.closed(self.session.closed());
    }

    fn farewell(&self, status: &Status) {
        let node = &self.node;
        match status.code() {
            // The agent vanished, or this process is about to: neither is the agent's fault.
            Code::Ok | Code::Unavailable | Code::Cancelled | Code::Unknown => {
                tracing::info!(%node, reason = status.message(), "agent disconnected");
            }
            code => tracing::warn!(%node, ?code, reason = status.message(), "stream ended"),
        }
    }
}

fn overdue(shared: &Shared) -> Status {
    shared.context.metrics.dropped("unanswered");
    let limit = shared.context.limits.ack;
    Status::deadline_exceeded(format!("no answer to an update within {limit:?}"))
}

fn stopped(error: EngineStopped) -> Status {
    Status::unavailable(error.to_string())
}

/// Until the flag is up. If nobody can raise it any more, never.
async fn raised(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|up| *up).await.is_err() {
        pending::<()>().await;
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}
