//! An agent that has said hello and can be served: the newest state out, answers in. What to send is [`Session`]'s to decide.

use std::sync::Arc;

use flock_compiler_core::forget::{isolated, lost};
use flock_compiler_core::object::Facts;
use flock_proto::{Ack, AgentMessage, Answer, Flows, Forget, Hello, Update, UpdateKind, v1};
use flock_shared::{NodeName, Script, Superseded};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tonic::{Code, Status, Streaming};

use super::dropped::StreamDrops;
use super::facts::FactsDue;
use super::far_nodes::Forgetting;
use super::flows::{self, Others};
use super::relay::Past;
use super::replica_lag::StreamPosition;
use super::revocations::RemoteRevocations;
use super::session::{AckEffect, Action, Session, UpdateForm};
use super::shared::NodeShared;
use super::unsettled::Tell;
use crate::access::Grant;
use crate::engine::{Desired, EngineStopped, Presence, Published, Sequence};
use crate::fleet;
use crate::metrics::StreamKey;
use crate::service::limits::Limits;
use crate::service::render_limiter::{RenderPermit, Rendered};
use flock_shared::pause::until;

/// An update, and the room in memory that its script takes until it is written.
pub(super) struct Outbound {
    pub(super) update: Update,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// Counts a stream for as long as it lives.
pub(super) struct StreamCount {
    shared: Arc<NodeShared>,
    node: NodeName,
    key: StreamKey,
}

impl StreamCount {
    pub(super) fn new(shared: &Arc<NodeShared>, node: &NodeName) -> Self {
        let key = shared.context.metrics.opened(node);
        Self { shared: Arc::clone(shared), node: node.clone(), key }
    }

    /// The node has what a pass has published for it.
    fn reached(&self, pass: Sequence) {
        self.shared.context.metrics.acknowledged(&self.node, self.key, pass);
    }
}

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.shared.context.metrics.closed(&self.node, self.key);
    }
}

/// What a subscription is made of.
pub(super) struct SubscriptionParts {
    pub(super) grant: Grant,
    pub(super) desired: Desired,
    pub(super) tells: Receiver<Tell>,
    pub(super) position: StreamPosition,
    pub(super) fleet: fleet::OpenStream,
    pub(super) drops: StreamDrops,
    pub(super) counted: StreamCount,
}

/// The node's states for its agent.
pub(super) struct Subscription {
    node: NodeName,
    grant: Grant,
    desired: Desired,
    session: Session<Published>,
    facts: FactsDue,
    /// The agent's last question about connections, until it is answered.
    asked: Option<Box<Flows>>,
    forgetting: Forgetting,
    drops: StreamDrops,
    /// In a box: it is rare, and streams are many.
    remote: Box<RemoteRevocations>,
    position: StreamPosition,
    fleet: fleet::OpenStream,
    counted: StreamCount,
}

impl Subscription {
    /// After a hello; `has_facts`: something else has been said of the node since.
    pub(super) fn new(hello: Hello, parts: SubscriptionParts, has_facts: bool, limits: Limits) -> Self {
        let SubscriptionParts { grant, desired, tells, position, fleet, drops, counted } = parts;
        Self {
            node: hello.node,
            grant,
            desired,
            session: Session::new(hello.applied, hello.superseded, hello.grammar, limits),
            facts: FactsDue::new(has_facts),
            asked: None,
            forgetting: Forgetting::default(),
            drops,
            remote: Box::new(RemoteRevocations::new(tells)),
            position,
            fleet,
            counted,
        }
    }

    /// Reads answers until there is an update to send.
    pub(super) async fn next(
        &mut self,
        shared: &NodeShared,
        messages: &mut Streaming<v1::AgentMessage>,
    ) -> Result<Outbound, Status> {
        let mut permit = None;
        loop {
            // Facts first: the state that is looked up below is then by them already, and no update is sent twice.
            if self.facts.take()
                && let Some(facts) = self.fleet.facts()
            {
                // In a box: facts are rare, and a stream has room for the largest future that it ever awaits.
                let observing = shared.context.engine.observe(Facts::clone(&facts));
                Box::pin(observing).await?;
            }
            // An answer before an update: the agent waits for it before it applies what comes next.
            if let Some(flows) = self.asked.take()
                && let Some(update) = Box::pin(self.answer(shared, &flows)).await?
            {
                return Ok(Outbound { update, room: None });
            }
            let newest = self.desired.borrow_and_update().clone();
            self.report(newest.as_deref());
            let action = newest.map_or(Action::Nothing, |it| self.session.due(&it, Instant::now()));
            self.fleet.closed(self.session.closed());
            let wake = match action {
                Action::From(base, newest) => {
                    if let Some(outbound) = self.delta(shared, newest, &base, &mut permit).await {
                        return Ok(outbound);
                    }
                    // The wait for the permit may have been long: what is the newest is asked again after it.
                    continue;
                }
                Action::Full(newest) => {
                    let Some(permit) = permit.take() else {
                        permit = Some(shared.render_limiter.permit().await);
                        continue;
                    };
                    return Ok(self.full(shared, newest, permit).await);
                }
                Action::Current(state) => return Ok(self.current(shared, state)),
                Action::Overdue => return Err(overdue(shared)),
                Action::At(instant) => Some(instant),
                Action::Nothing => None,
            };
            // Nothing else is to be sent, and the agent has what it should: only then may it look at connections by that.
            if !self.remote.is_empty()
                && let Some(state) = self.session.rests()
            {
                return Ok(self.look(shared, state));
            }
            // Behind all that is enforced. It is about a state that the agent has, and changes none.
            if let Some(state) = self.session.state()
                && let Some(wanted) = self.drops.due()
            {
                let update = Update::new(state.revision().clone(), UpdateKind::Current).wanting(wanted);
                return Ok(Outbound { update, room: None });
            }
            // Others may make their scripts while this stream waits.
            permit = None;
            tokio::select! {
                message = messages.next() => match message {
                    None => return Err(Status::ok("")),
                    Some(message) => self.message(shared, message?)?,
                },
                changed = self.desired.changed() => changed.map_err(|_| EngineStopped)?,
                () = until(wake) => {}
                () = self.drops.changed() => {}
                () = until(self.facts.due()) => {}
                // In a box: nothing else that is waited for here takes as much room.
                told = Box::pin(self.remote.next()) => {
                    let newest = self.desired.borrow().clone();
                    self.remote.heard(told, newest.as_deref())?;
                }
                denied = self.grant.revoked() => return Err(denied.into()),
            }
        }
    }

    /// Says how far the node has come. What it has may be the newest without an update: back and forth comes to nothing.
    fn report(&self, newest: Option<&Published>) {
        let state = self.session.state();
        let lacks = |newest: &&Published| state.is_none_or(|state| state.revision() != newest.revision());
        self.fleet.lacks(newest.filter(lacks).map(Published::since));
        let Some(state) = state else { return };
        let is_same =
            |newest: &&Published| newest.revision() == state.revision() && !self.session.is_under_way();
        let newest = newest.filter(is_same);
        let reached = newest.unwrap_or(state).sequence();
        if self.fleet.reached(reached, state) {
            self.counted.reached(reached);
        }
    }

    fn current(&mut self, shared: &NodeShared, state: Arc<Published>) -> Outbound {
        let past = if self.fleet.has_changed() { Past::Unknown } else { Past::Before };
        shared.relay.stands(past, state.output());
        // What was revoked elsewhere while there was no stream is not known.
        self.remote.assume_all(&state);
        self.look(shared, state)
    }

    /// Has the agent, which has the state, look at connections.
    fn look(&mut self, shared: &NodeShared, state: Arc<Published>) -> Outbound {
        shared.context.metrics.update("current", None);
        let leaves = self.session.superseded().clone();
        let forget = Forget::Lost(self.remote.take());
        self.send(state, UpdateForm::Current, (UpdateKind::Current, Some(forget)), leaves, None)
    }

    /// The way from `base`, or the full script where no way leads there. What is large takes a permit; `None`: it had none,
    /// and has one now.
    async fn delta(
        &mut self,
        shared: &NodeShared,
        state: Arc<Published>,
        base: &Published,
        permit: &mut Option<RenderPermit>,
    ) -> Option<Outbound> {
        let delta = state.delta_from(base, self.session.superseded());
        if let Some((body, end)) = &delta
            && body.len() < shared.context.limits.large
        {
            return Some(self.send_delta(shared, state, base, (body.script(end), end.superseded()), None));
        }
        let Some(held) = permit.take() else {
            *permit = Some(shared.render_limiter.permit().await);
            return None;
        };
        let Some((body, end)) = delta else { return Some(self.full(shared, state, held).await) };
        let leaves = end.superseded();
        let Rendered { script, room } = shared.render_limiter.render(held, move || body.script(&end)).await;
        Some(self.send_delta(shared, state, base, (script, leaves), room))
    }

    fn send_delta(
        &mut self,
        shared: &NodeShared,
        state: Arc<Published>,
        base: &Published,
        (script, leaves): (Script, Superseded),
        room: Option<OwnedSemaphorePermit>,
    ) -> Outbound {
        shared.context.metrics.update("delta", Some(&script));
        let update = UpdateKind::Delta { base: base.revision().clone(), script };
        let mut lost = lost(base.output(), state.output());
        lost.extend(self.remote.take().iter().copied());
        let forget = (!lost.is_empty()).then_some(Forget::Lost(lost));
        self.send(state, UpdateForm::Delta, (update, forget), leaves, room)
    }

    async fn full(&mut self, shared: &NodeShared, state: Arc<Published>, permit: RenderPermit) -> Outbound {
        let rendered = Arc::clone(&state);
        let Rendered { script, room } = shared.render_limiter.render(permit, move || rendered.full()).await;
        shared.context.metrics.update("full", Some(&script));
        // What was allowed before is not known, neither here nor elsewhere: all that is isolated is looked at.
        drop(self.remote.take());
        let forget = Forget::Lost(isolated(state.output()));
        let update = (UpdateKind::Full(script), Some(forget));
        self.send(state, UpdateForm::Full, update, Superseded::default(), room)
    }

    fn send(
        &mut self,
        state: Arc<Published>,
        form: UpdateForm,
        (update, forget): (UpdateKind, Option<Forget>),
        leaves: Superseded,
        room: Option<OwnedSemaphorePermit>,
    ) -> Outbound {
        if state.presence() == Presence::Unknown && form != UpdateForm::Delta {
            let node = &self.node;
            tracing::warn!(%node, "no Node object and no pod has this name: nothing is isolated there; is it right?");
        }
        // The position is read after the state: it may say more than the state knows, never less.
        let mut update = Update::new(state.revision().clone(), update).at(self.position.position());
        update.forget = forget;
        update.closed = state.is_closed();
        // An agent that is current keeps the list that it came with.
        if form != UpdateForm::Current {
            update = update.leaving(leaves.clone());
        }
        self.session.sent(state, form, leaves, Instant::now());
        Outbound { update, room }
    }

    fn message(&mut self, shared: &NodeShared, message: v1::AgentMessage) -> Result<(), Status> {
        if message.message.is_none() {
            // Of a later version: each side passes over what it does not know.
            return Ok(());
        }
        match AgentMessage::try_from(message) {
            Ok(AgentMessage::Ack(ack)) => self.ack(shared, &ack),
            Ok(AgentMessage::Facts(facts)) => {
                self.fleet.said(&facts);
                self.facts.said(shared.context.limits.facts);
            }
            Ok(AgentMessage::Drops(drops)) => self.drops.told(&shared.context.drops, &self.node, drops),
            // An agent asks one question at a time: one that is still open here it has given up.
            Ok(AgentMessage::Flows(flows)) => self.asked = Some(Box::new(flows)),
            Ok(AgentMessage::Sandboxes(all)) => shared.quotas.said(&shared.context, &self.node, all),
            Ok(AgentMessage::Hello(_)) => return Err(Status::invalid_argument("a second hello")),
            Err(error) => return Err(Status::invalid_argument(error.to_string())),
        }
        Ok(())
    }

    /// The answer to a question. An agent whose table is not known has none, and asks again later.
    async fn answer(&mut self, shared: &NodeShared, flows: &Flows) -> Result<Option<Update>, Status> {
        let newest = self.desired.borrow().clone();
        let Some(newest) = newest.as_deref() else { return Ok(None) };
        let mut states = [Some(newest), self.session.state().map(|state| &**state)].into_iter().flatten();
        let Some(stands) = states.find(|state| *state.revision() == flows.revision) else { return Ok(None) };
        let now = Instant::now();
        let far_nodes = self.forgetting.far_nodes(self.fleet.stood_for(stands), now);
        let addresses = flows::asked_elsewhere(flows, newest.output(), far_nodes);
        let others = if addresses.is_empty() {
            Others::new()
        } else {
            let asking = shared.context.engine.outputs(addresses.into_iter().collect());
            asking.await?
        };
        let (forget, leaves) = flows::answer(flows, stands.output(), newest.output(), &others, far_nodes);
        if leaves {
            self.forgetting.left(now);
        }
        if let Forget::Answer { answer: Answer::Denied(denied), .. } = &forget {
            shared.context.metrics.cut.inc_by(denied.len() as u64);
        }
        let update = Update::new(flows.revision.clone(), UpdateKind::Current);
        Ok(Some(update.at(self.position.position()).forgetting(forget)))
    }

    fn ack(&mut self, shared: &NodeShared, ack: &Ack) {
        let node = &self.node;
        shared.context.metrics.ack(ack);
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
        let effect = self.session.answered(ack, Instant::now());
        // Others are told of what it may have revoked.
        if (effect == AckEffect::Anew || drifts > 0)
            && let Some(state) = self.session.state()
        {
            shared.relay.stands(Past::Unknown, state.output());
        }
        match effect {
            AckEffect::Settled | AckEffect::Anew => {}
            AckEffect::Resend(pause) => tracing::info!(%node, ?pause, "a full script will be sent"),
            AckEffect::Closed => {
                tracing::error!(%node, "the node refuses its table: its isolated pods are denied everything");
            }
        }
        self.fleet.closed(self.session.closed());
    }

    /// Logs how the stream ended.
    pub(super) fn farewell(&self, status: &Status) {
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

fn overdue(shared: &NodeShared) -> Status {
    shared.context.metrics.dropped("unanswered");
    let limit = shared.context.limits.ack;
    Status::deadline_exceeded(format!("no answer to an update within {limit:?}"))
}
