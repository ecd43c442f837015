//! The engine: the one task that owns the world, translates it and publishes what each node should have.
//!
//! Events are drained and coalesced, so a burst costs one pass. Nothing is published before the world is complete.

mod board;
mod complaints;
mod patience;
mod position;

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flock_compiler_core::forget::Elsewhere;
use flock_compiler_core::object::{Facts, NodePods, UnixTime};
use flock_compiler_core::{Change, Edit, Options, Output, Pass, Problem, Translator, UnreadyPods, World};
use flock_shared::NodeName;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

pub use board::{Presence, Published, Released, Sequence};
pub use position::{Gap, Reach, Versions};

use self::board::Board;
use self::complaints::Complaints;
use self::patience::{Now, Patience};
use self::position::Positions;
use crate::metrics::Metrics;
use crate::source::SourceEvent;

/// A burst is over when no event has come for this long …
const QUIET: Duration = Duration::from_millis(1);
/// … or when it has lasted this long.
const LONGEST_BURST: Duration = Duration::from_millis(50);

/// So many requests are answered together at most.
const REQUESTS: usize = 1024;

/// So many passes may have revoked something before whoever has heard of none is told that it missed some.
const REVOCATIONS: usize = 64;

/// What passes have revoked, for the nodes that do not judge it themselves.
pub type Revocations = broadcast::Receiver<Arc<Elsewhere>>;

/// What the compiler wants of one node; `None` until the world is complete.
pub type Desired = watch::Receiver<Option<Arc<Published>>>;

/// Why the engine stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Every sender of events is gone: the source has ended.
    #[error("the source of cluster objects has ended")]
    SourceEnded,
    /// Translation panicked; the world may be half changed.
    #[error("translation failed")]
    Translation(#[source] tokio::task::JoinError),
}

enum Request {
    Subscribe(NodeName, oneshot::Sender<Desired>),
    /// What an agent says of its node, and where to see what the node should have, once that is taken into account.
    Introduce(NodeName, Option<Facts>, oneshot::Sender<Desired>),
    /// What an agent that has introduced itself says of its node.
    Observe(Facts),
    Nodes(oneshot::Sender<BTreeMap<NodeName, Desired>>),
    Problems(oneshot::Sender<Vec<Problem>>),
    /// What the nodes of some pods' addresses enforce.
    Outputs(Vec<IpAddr>, oneshot::Sender<HashMap<IpAddr, Vec<Arc<Output>>>>),
    /// What CNI did on a node, where there is no API server to write it down.
    Attached(NodePods),
    /// A look at the world.
    Look(Look),
}

/// Looks at what is published; to be quick, for everything else waits.
type Look = Box<dyn FnOnce(&View<'_>) + Send>;

/// The world as it is published.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The objects.
    pub world: &'a World,
    /// The newest pass, which knows all of them.
    pub sequence: Sequence,
    /// What pods have ceased to have.
    pub released: &'a Released,
}

/// Asks the engine. Cloning is cheap; a request fails only when the engine has stopped.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    requests: mpsc::Sender<Request>,
    ready: watch::Receiver<bool>,
    passed: watch::Receiver<Sequence>,
    reach: watch::Receiver<Reach>,
    revocations: broadcast::Sender<Arc<Elsewhere>>,
}

/// The engine has stopped; the process is about to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine has stopped")]
pub struct EngineStopped;

impl EngineHandle {
    /// What `node` should have, now and later. A node that the world does not know has a table without subjects.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn subscribe(&self, node: NodeName) -> Result<Desired, EngineStopped> {
        self.ask(|reply| Request::Subscribe(node, reply)).await
    }

    /// The same, for the agent of `node`, which says this of it. What is published already takes that into account.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn introduce(&self, node: NodeName, facts: Option<Facts>) -> Result<Desired, EngineStopped> {
        self.ask(|reply| Request::Introduce(node, facts, reply)).await
    }

    /// The agent of a node, which has introduced itself, says something else of it.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn observe(&self, facts: Facts) -> Result<(), EngineStopped> {
        self.requests.send(Request::Observe(facts)).await.map_err(|_| EngineStopped)
    }

    /// What every known node should have.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn nodes(&self) -> Result<BTreeMap<NodeName, Desired>, EngineStopped> {
        self.ask(Request::Nodes).await
    }

    /// What a user should mend, in order.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn problems(&self) -> Result<Vec<Problem>, EngineStopped> {
        self.ask(Request::Problems).await
    }

    /// What `look` sees in the world, once that is complete. It is to be quick.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, EngineStopped> {
        let mut ready = self.ready.clone();
        ready.wait_for(|ready| *ready).await.map_err(|_| EngineStopped)?;
        // An asker that went away does not want the answer any more.
        self.ask(|reply| Request::Look(Box::new(move |view| drop(reply.send(look(view)))))).await
    }

    /// The newest pass that is published.
    #[must_use]
    pub fn passed(&self) -> watch::Receiver<Sequence> {
        self.passed.clone()
    }

    /// What CNI did on a node, where there is no API server to write it down.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn attached(&self, object: NodePods) -> Result<(), EngineStopped> {
        self.requests.send(Request::Attached(object)).await.map_err(|_| EngineStopped)
    }

    /// What the nodes of the owners of these addresses are to enforce; addresses that nobody owns are left out.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn outputs(
        &self,
        addresses: Vec<IpAddr>,
    ) -> Result<HashMap<IpAddr, Vec<Arc<Output>>>, EngineStopped> {
        self.ask(|reply| Request::Outputs(addresses, reply)).await
    }

    /// What is revoked from here on, for nodes that do not judge it themselves.
    #[must_use]
    pub fn revocations(&self) -> Revocations {
        self.revocations.subscribe()
    }

    /// Whether every kind has been listed and its translation is published.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// A receiver that turns true once [`Self::is_ready`] does.
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// How far the states that are published reach; changes when they reach further.
    #[must_use]
    pub fn reach(&self) -> watch::Receiver<Reach> {
        self.reach.clone()
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, EngineStopped> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| EngineStopped)?;
        answer.await.map_err(|_| EngineStopped)
    }
}

/// What a burst of events changed; the later variant asks for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Burst {
    Nothing,
    Reports,
    World,
}

/// The engine before it runs.
#[derive(Debug)]
pub struct Engine {
    translator: Translator,
    /// Who is waited for, if it matters who is on the way.
    patience: Option<Patience>,
    /// Problems of inputs that are not objects, by input.
    reports: BTreeMap<Arc<str>, Vec<Problem>>,
    /// Problems of objects and between them, as of the newest translation.
    world_problems: Vec<Problem>,
    /// Whether they differ from those in `complaints`.
    problems_stale: bool,
    /// All of them, and what was said of them.
    complaints: Complaints,
    board: Board,
    positions: Positions,
    requests: mpsc::Receiver<Request>,
    ready: watch::Sender<bool>,
    passed: watch::Sender<Sequence>,
    revocations: broadcast::Sender<Arc<Elsewhere>>,
    metrics: Arc<Metrics>,
}

impl Engine {
    /// An engine with an empty world, and the handle to ask it.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> (Self, EngineHandle) {
        Self::with(Options::default(), metrics)
    }

    /// An engine with an empty world that is translated in the way that these options say, and the handle to ask it.
    #[must_use]
    pub fn with(options: Options, metrics: Arc<Metrics>) -> (Self, EngineHandle) {
        let (sender, requests) = mpsc::channel(64);
        let (ready, readiness) = watch::channel(false);
        let (passed, passes) = watch::channel(Sequence::default());
        let (positions, reach) = Positions::new();
        let revocations = broadcast::channel(REVOCATIONS).0;
        let engine = Self {
            translator: Translator::with(options),
            patience: (options.unready_pods == UnreadyPods::Expected).then(Patience::default),
            reports: BTreeMap::new(),
            world_problems: Vec::new(),
            problems_stale: false,
            complaints: Complaints::default(),
            board: Board::default(),
            positions,
            requests,
            ready,
            passed,
            revocations: revocations.clone(),
            metrics,
        };
        let handle = EngineHandle { requests: sender, ready: readiness, passed: passes, reach, revocations };
        (engine, handle)
    }

    /// Runs until the source ends; it never should.
    ///
    /// # Errors
    /// [`EngineError`] says why the engine stopped.
    pub async fn run(mut self, mut events: mpsc::Receiver<SourceEvent>) -> Result<(), EngineError> {
        loop {
            let overdue_at = self.patience.as_ref().and_then(Patience::due);
            tokio::select! {
                () = at(overdue_at) => self = self.pass_time().await?,
                event = events.recv() => {
                    match self.burst(event.ok_or(EngineError::SourceEnded)?, &mut events).await {
                        Burst::World if self.translator.world().is_complete() => self = self.publish().await?,
                        Burst::World | Burst::Reports => self.review_problems(),
                        Burst::Nothing => {}
                    }
                    if self.translator.world().is_complete() {
                        self.positions.published();
                    }
                }
                Some(request) = self.requests.recv() => self = self.serve(request).await?,
            }
        }
    }

    /// Applies an event and those that follow closely; what they changed.
    async fn burst(&mut self, first: SourceEvent, events: &mut mpsc::Receiver<SourceEvent>) -> Burst {
        let deadline = Instant::now() + LONGEST_BURST;
        let mut changed = self.apply(first);
        loop {
            let quiet = (Instant::now() + QUIET).min(deadline);
            match tokio::time::timeout_at(quiet, events.recv()).await {
                Ok(Some(event)) => changed = changed.max(self.apply(event)),
                // The end of the source is noticed by the caller's next receive.
                Ok(None) | Err(_) => break,
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        changed
    }

    fn apply(&mut self, event: SourceEvent) -> Burst {
        self.metrics.events.inc();
        match event {
            SourceEvent::Changes { changes, progress } => {
                let was_complete = self.translator.world().is_complete();
                let mut changed = false;
                for change in changes {
                    let overdue = self.heed(&change);
                    changed |= self.translator.apply(change);
                    for change in overdue {
                        changed |= self.translator.apply(change);
                    }
                }
                if let Some(progress) = progress {
                    self.positions.read(progress, changed);
                }
                // The listing that completes the world counts although it may hold nothing.
                if changed || was_complete != self.translator.world().is_complete() {
                    Burst::World
                } else {
                    Burst::Nothing
                }
            }
            SourceEvent::Report { input, problems } => {
                if problems.is_empty() {
                    self.reports.remove(&input)
                } else {
                    self.reports.insert(input, problems)
                };
                self.problems_stale = true;
                Burst::Reports
            }
        }
    }

    /// Who is overdue by a change that is about to be applied, or is no longer.
    fn heed(&mut self, change: &Change) -> Vec<Change> {
        let Some(patience) = self.patience.as_mut().filter(|_| matches!(change, Change::Pod(_))) else {
            return Vec::new();
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = i64::try_from(since.as_secs()).ok().and_then(UnixTime::new);
        let now = Now { instant: Instant::now(), wall };
        patience.heed(change, now, |pod| self.translator.expects(pod))
    }

    /// Who is overdue by now closes no node any more.
    async fn pass_time(mut self) -> Result<Self, EngineError> {
        let Some(patience) = &mut self.patience else { return Ok(self) };
        let decided = patience.pass_time(Instant::now(), |pod| self.translator.expects(pod));
        let mut changed = false;
        for change in decided {
            changed |= self.translator.apply(change);
        }
        if changed && self.is_ready() { self.publish().await } else { Ok(self) }
    }

    /// Says in the log what is new and what is mended.
    fn review_problems(&mut self) {
        let reported = self.reports.values().flatten();
        self.complaints.review(self.world_problems.iter().chain(reported).cloned().collect());
        self.metrics.problems.set(i64::try_from(self.complaints.all().len()).unwrap_or(i64::MAX));
    }

    /// Translates off the async threads: the world goes there and comes back.
    async fn publish(mut self) -> Result<Self, EngineError> {
        let started = Instant::now();
        self.positions.publishing();
        self = tokio::task::spawn_blocking(move || {
            let pass = self.translator.pass();
            if pass.problems {
                self.world_problems = self.translator.problems();
            }
            self.metrics.passed(&pass.work);
            self.problems_stale |= pass.problems;
            let revoked = self.revoked(&pass);
            for node in self.board.publish(pass, &self.translator) {
                self.translator.apply(Change::Facts(Edit::Delete(node)));
            }
            // What it revokes is published: whoever asks is answered by that.
            revoked.map(tokio::task::spawn_blocking);
            self
        })
        .await
        .map_err(EngineError::Translation)?;
        self.metrics.translated(started.elapsed());
        self.metrics.objects(self.translator.world());
        if std::mem::take(&mut self.problems_stale) {
            self.review_problems();
        }
        self.passed.send_replace(self.board.sequence());
        if !self.ready.send_replace(true) {
            tracing::info!(
                nodes = self.board.len(),
                pods = self.translator.world().pods().len(),
                policies = self.translator.world().policies().len(),
                "ready"
            );
        }
        Ok(self)
    }

    /// How to find out what a pass revokes and tell the streams, apart from the engine, if there are any.
    fn revoked(&self, pass: &Pass) -> Option<impl FnOnce() + Send + 'static> {
        if self.revocations.receiver_count() == 0 {
            return None;
        }
        let states = pass.changes.iter().filter_map(|it| Some((it.before.clone()?, Arc::clone(&it.after))));
        let (states, moved): (Vec<_>, _) = (states.collect(), pass.moved.clone());
        let revocations = self.revocations.clone();
        (!states.is_empty()).then_some(move || {
            let states = states.iter().map(|(before, after)| (&**before, &**after));
            let revoked = Elsewhere::of(states, &moved);
            if !revoked.is_empty() {
                // Nobody may be left who wants it.
                let _ = revocations.send(Arc::new(revoked));
            }
        })
    }

    fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Answers a request and those that wait behind it: what thousands of agents say of their nodes when they come back
    /// costs a few passes.
    async fn serve(mut self, first: Request) -> Result<Self, EngineError> {
        let mut requests = vec![first];
        while requests.len() < REQUESTS
            && let Ok(request) = self.requests.try_recv()
        {
            requests.push(request);
        }
        let mut changed = false;
        for request in &mut requests {
            changed |= self.hear(request);
        }
        if changed && self.is_ready() {
            self = self.publish().await?;
        }
        requests.into_iter().for_each(|request| self.answer(request));
        Ok(self)
    }

    /// Takes over what a request says of a node. Returns true if that is other than what was known.
    fn hear(&mut self, request: &mut Request) -> bool {
        let edit = match request {
            Request::Introduce(node, facts, _) => {
                facts.take().map_or_else(|| Edit::Delete(node.clone()), Edit::Upsert)
            }
            // Only of nodes that have a place, with which what they say is forgotten.
            Request::Observe(facts) if self.board.has(&facts.node) => Edit::Upsert(facts.clone()),
            Request::Attached(object) => {
                return self.translator.apply(Change::NodePods(Edit::Upsert(object.clone())));
            }
            Request::Observe(_)
            | Request::Subscribe(..)
            | Request::Nodes(_)
            | Request::Problems(_)
            | Request::Look(_)
            | Request::Outputs(..) => return false,
        };
        self.translator.apply(Change::Facts(edit))
    }

    const fn view(&self) -> View<'_> {
        View {
            world: self.translator.world(),
            sequence: self.board.sequence(),
            released: self.board.released(),
        }
    }

    fn answer(&mut self, request: Request) {
        // An asker that went away does not want the answer any more.
        match request {
            Request::Observe(_) | Request::Attached(_) => {}
            Request::Look(look) => look(&self.view()),
            Request::Subscribe(node, reply) | Request::Introduce(node, _, reply) => {
                let translator = self.is_ready().then_some(&self.translator);
                drop(reply.send(self.board.subscribe(node, translator)));
            }
            Request::Nodes(reply) => drop(reply.send(self.board.all())),
            Request::Problems(reply) => drop(reply.send(self.complaints.all().to_vec())),
            Request::Outputs(addresses, reply) => {
                let outputs_of = |address: &IpAddr| self.translator.outputs_of(address).cloned().collect();
                let outputs = addresses.into_iter().map(|address| (address, outputs_of(&address)));
                drop(reply.send(outputs.collect()));
            }
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

#[cfg(test)]
#[path = "expected_tests.rs"]
mod tests;
