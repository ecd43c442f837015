//! The engine: the one task that owns the world, translates it and publishes what each node should have.
//!
//! Events are drained and coalesced, so a burst costs one pass. Nothing is published before the world is complete.

mod handle;
mod node_states;
mod pod_waits;
mod problem_log;
mod published;
mod released;
mod replica_progress;
mod versions;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flock_compiler_core::forget::Elsewhere;
use flock_compiler_core::object::UnixTime;
use flock_compiler_core::{Broken, Change, Edit, Options, Pass, Problem, Translator, UnreadyPods};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use handle::{Desired, EngineHandle, EngineStopped, Revocations, Revoked, View};
pub use published::{Presence, Published, Sequence};
pub use released::Released;
pub use replica_progress::ReplicaProgress;
pub use versions::{Gap, Versions};

use self::handle::Request;
use self::node_states::NodeStates;
use self::pod_waits::{Clocks, PodWaits};
use self::problem_log::ProblemLog;
use self::replica_progress::ProgressRecord;
use crate::metrics::Metrics;
use crate::mirror::{FeedWriter, Mirror};
use crate::source::SourceEvent;
use flock_shared::pause::until;

/// A burst is over when no event has come for this long …
const QUIET: Duration = Duration::from_millis(1);
/// … or when it has lasted this long.
const LONGEST_BURST: Duration = Duration::from_millis(50);

/// So many requests are answered together at most.
const REQUESTS: usize = 1024;

/// So many passes may have revoked something before whoever has heard of none is told that it missed some.
const REVOCATIONS: usize = 64;

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
    /// The pods that are waited for, where unknown addresses are closed only while some are on their way.
    pod_waits: Option<PodWaits>,
    /// Problems of inputs that are not objects, by input.
    reports: BTreeMap<Arc<str>, Vec<Problem>>,
    /// Problems of objects and between them, as of the newest translation.
    world_problems: Vec<Problem>,
    /// True if they differ from those in `problem_log`.
    problems_stale: bool,
    /// All of them, and what was said of them.
    problem_log: ProblemLog,
    node_states: NodeStates,
    progress: ProgressRecord,
    requests: mpsc::Receiver<Request>,
    ready: watch::Sender<bool>,
    sound: watch::Sender<bool>,
    passed: watch::Sender<Sequence>,
    revocations: broadcast::Sender<Revoked>,
    /// When the oldest change was observed that no pass has taken up yet.
    observed: Option<Instant>,
    /// When the newest pass began.
    pass_began: Instant,
    mirror: Mirror,
    feed: FeedWriter,
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
        let (sound, soundness) = watch::channel(true);
        let (passed, passes) = watch::channel(Sequence::default());
        let (progress, replica_progress) = ProgressRecord::new();
        let revocations = broadcast::channel(REVOCATIONS).0;
        let (mirror, feed) = Mirror::new(options);
        let engine = Self {
            translator: Translator::with(options),
            pod_waits: (options.unready_pods == UnreadyPods::Expected).then(PodWaits::default),
            reports: BTreeMap::new(),
            world_problems: Vec::new(),
            problems_stale: false,
            problem_log: ProblemLog::default(),
            node_states: NodeStates::default(),
            progress,
            requests,
            ready,
            sound,
            passed,
            revocations: revocations.clone(),
            observed: None,
            pass_began: Instant::now(),
            mirror: mirror.clone(),
            feed,
            metrics,
        };
        let handle = EngineHandle {
            requests: sender,
            ready: readiness,
            sound: soundness,
            passed: passes,
            progress: replica_progress,
            revocations,
            mirror,
        };
        (engine, handle)
    }

    /// Runs until the source ends; it never should.
    ///
    /// # Errors
    /// [`EngineError`] says why the engine stopped.
    pub async fn run(mut self, mut events: mpsc::Receiver<SourceEvent>) -> Result<(), EngineError> {
        // It ends with the engine.
        let mut mirroring = JoinSet::new();
        mirroring.spawn(self.mirror.clone().run());
        loop {
            // Asked anew each time: what was just applied may have begun or ended a wait.
            let overdue_at = self.pod_waits.as_ref().and_then(PodWaits::due);
            tokio::select! {
                () = until(overdue_at) => self = self.expire().await?,
                event = events.recv() => {
                    // A world that is not complete is no policy: until then problems are all there is to say.
                    match self.burst(event.ok_or(EngineError::SourceEnded)?, &mut events).await {
                        Burst::World if self.translator.world().is_complete() => self = self.publish().await?,
                        Burst::World | Burst::Reports => self.review_problems(),
                        Burst::Nothing => {}
                    }
                    self.feed.without_pass(self.node_states.sequence(), self.translator.world());
                    // What could not be published is still to be reached.
                    if self.translator.world().is_complete() && self.is_sound() {
                        self.progress.published();
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
        // Until it is quiet, so that a rollout costs one pass; but not for ever, so that a storm without end is published, too.
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
            SourceEvent::Changes { changes, progress, observed } => {
                let was_complete = self.translator.world().is_complete();
                let mut changed = false;
                for change in changes {
                    // Before the world has it: whether a pod was waited for is known of the world as it was.
                    let overdue = self.observe(&change);
                    changed |= self.change(change);
                    for change in overdue {
                        changed |= self.change(change);
                    }
                }
                if let Some(progress) = progress {
                    self.progress.read(progress, changed);
                }
                if changed {
                    self.changed(observed);
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

    /// Applies a change, and takes down for the mirror what it came to. Returns true if anything differs.
    fn change(&mut self, change: Change) -> bool {
        let Self { translator, feed, .. } = self;
        translator.apply_telling(change, |differences| feed.note(differences))
    }

    /// The world has changed by what was observed at a moment.
    fn changed(&mut self, observed: Instant) {
        self.observed = Some(self.observed.map_or(observed, |oldest| oldest.min(observed)));
    }

    /// The pods that are overdue by a change that is about to be applied, or no longer.
    fn observe(&mut self, change: &Change) -> Vec<Change> {
        let Some(pod_waits) = self.pod_waits.as_mut().filter(|_| matches!(change, Change::Pod(_))) else {
            return Vec::new();
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = i64::try_from(since.as_secs()).ok().and_then(UnixTime::new);
        let now = Clocks { instant: Instant::now(), wall };
        pod_waits.observe(change, now, |pod| self.translator.expects(pod))
    }

    /// Pods that are overdue by now close no node any more.
    async fn expire(mut self) -> Result<Self, EngineError> {
        let Some(pod_waits) = &mut self.pod_waits else { return Ok(self) };
        let decided = pod_waits.expire(Instant::now(), |pod| self.translator.expects(pod));
        let mut changed = false;
        for change in decided {
            changed |= self.change(change);
        }
        if changed {
            self.changed(Instant::now());
        }
        if changed && self.may_publish() { self.publish().await } else { Ok(self) }
    }

    /// Says in the log what is new and what is mended.
    fn review_problems(&mut self) {
        let reported = self.reports.values().flatten();
        self.problem_log.review(self.world_problems.iter().chain(reported).cloned().collect());
        self.metrics.problems(self.problem_log.all());
    }

    /// Translates off the async threads: the world goes there and comes back.
    async fn publish(mut self) -> Result<Self, EngineError> {
        let started = Instant::now();
        self.pass_began = started;
        // Before the pass: as soon as a state is there, an agent may take it, and its position has to name what it knows.
        self.progress.publishing();
        self = tokio::task::spawn_blocking(move || {
            let pass = self.translator.pass();
            self.take_over(pass);
            self
        })
        .await
        .map_err(EngineError::Translation)?;
        // Nothing was published, so nobody who waits for a pass is woken.
        if !self.is_sound() {
            return Ok(self);
        }
        self.metrics.translated(started.elapsed());
        self.metrics.objects(self.translator.world());
        if std::mem::take(&mut self.problems_stale) {
            self.review_problems();
        }
        // After the states: who waits for a pass then finds what it has published.
        self.passed.send_replace(self.node_states.sequence());
        if !self.ready.send_replace(true) {
            tracing::info!(
                nodes = self.node_states.len(),
                pods = self.translator.world().pods().len(),
                policies = self.translator.world().policies().len(),
                "ready"
            );
        }
        Ok(self)
    }

    /// Publishes what a pass has come to, unless that is nothing to go by.
    fn take_over(&mut self, pass: Pass) {
        // First of all, for nothing of a pass that broke an invariant is to be seen by anybody.
        self.judge(pass.broken.as_ref());
        if !self.is_sound() {
            return;
        }
        let over_budget = pass.problems.then(|| {
            self.world_problems = self.translator.problems();
            self.translator.over_budget()
        });
        self.metrics.passed(&pass.work);
        self.problems_stale |= pass.problems;
        // Of the states that are about to be replaced, so before they are.
        let revoked = self.revoked(&pass);
        // Before it is published, and may be acknowledged. What the first pass publishes is no change but all that there is.
        if let Some(observed) = self.observed.take().filter(|_| self.is_ready()) {
            let nodes = pass.changes.iter().map(|change| change.after.node());
            self.metrics.published(self.node_states.sequence().next(), observed, nodes);
        }
        let changed = pass.changes.iter().map(|change| Arc::clone(&change.after)).collect();
        let gone = pass.gone.clone();
        let forgotten = self.node_states.publish(pass, &self.translator);
        let header = (self.node_states.sequence(), self.pass_began.elapsed());
        self.feed.pass(header, (changed, gone), over_budget, self.translator.world());
        for node in forgotten {
            self.change(Change::Facts(Edit::Delete(node)));
        }
        // What it revokes is published: whoever asks is answered by that.
        revoked.map(tokio::task::spawn_blocking);
    }

    /// Says what is wrong with the translation itself, if anything is, and if agents may still turn to this replica. The
    /// next change of the cluster has it tried again, and nothing else has: it takes as long as a start.
    fn judge(&self, broken: Option<&Broken>) {
        if let Some(broken) = broken {
            self.metrics.invariants.inc_by(broken.count);
            tracing::error!(%broken, "an invariant of the translation is broken: please report this");
        }
        let is_sound = broken.is_none_or(|broken| broken.is_mended);
        if self.sound.send_replace(is_sound) != is_sound {
            if is_sound {
                tracing::info!("the translation is sound again");
            } else {
                tracing::error!("not ready: nodes keep what is published until a translation breaks nothing");
            }
        }
    }

    /// How to find out what a pass revokes and tell the relay of the streams, apart from the engine, if there is one.
    fn revoked(&self, pass: &Pass) -> Option<impl FnOnce() + Send + 'static> {
        // Nobody listens, as no relay was started: to find it out goes through all that has changed.
        if self.revocations.receiver_count() == 0 {
            return None;
        }
        let states = pass.changes.iter().filter_map(|it| Some((it.before.clone()?, Arc::clone(&it.after))));
        let (states, moved): (Vec<_>, _) = (states.collect(), pass.moved.clone());
        let (revocations, sequence) = (self.revocations.clone(), self.node_states.sequence().next());
        (!states.is_empty()).then_some(move || {
            let elsewhere = Elsewhere::of(states.iter().map(|(before, after)| (&**before, &**after)), &moved);
            if !elsewhere.is_empty() {
                // Nobody may be left who wants it.
                let _ = revocations.send(Revoked { elsewhere: Arc::new(elsewhere), sequence });
            }
        })
    }

    fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    fn is_sound(&self) -> bool {
        *self.sound.borrow()
    }

    /// Returns true if what nodes have is published by passes, and the newest one was to go by.
    fn may_publish(&self) -> bool {
        self.is_ready() && self.is_sound()
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
        // All are heard before one is answered: whoever subscribes gets a state that knows what it has said.
        for request in &mut requests {
            changed |= self.hear(request);
        }
        if changed {
            self.changed(Instant::now());
        }
        if changed && self.may_publish() {
            self = self.publish().await?;
        }
        requests.into_iter().for_each(|request| self.answer(request));
        Ok(self)
    }

    /// Takes over what a request says of a node. Returns true if that is other than what was known.
    fn hear(&mut self, request: &mut Request) -> bool {
        let edit = match request {
            Request::SubscribeAgent(node, facts, _) => {
                facts.take().map_or_else(|| Edit::Delete(node.clone()), Edit::Upsert)
            }
            // Only of nodes that have a place, with which what they say is forgotten.
            Request::Observe(facts) if self.node_states.has(&facts.node) => Edit::Upsert(facts.clone()),
            Request::Attached(object) => {
                return self.change(Change::NodePods(Edit::Upsert(object.clone())));
            }
            Request::StartOver => {
                self.translator.start_over();
                return true;
            }
            Request::Observe(_)
            | Request::Subscribe(..)
            | Request::Nodes(_)
            | Request::Problems(_)
            | Request::Look(_)
            | Request::Outputs(..) => return false,
        };
        self.change(Change::Facts(edit))
    }

    const fn view(&self) -> View<'_> {
        View {
            world: self.translator.world(),
            sequence: self.node_states.sequence(),
            released: self.node_states.released(),
        }
    }

    fn answer(&mut self, request: Request) {
        // An asker that went away does not want the answer any more.
        match request {
            Request::Observe(_) | Request::Attached(_) | Request::StartOver => {}
            Request::Look(look) => look(&self.view()),
            Request::Subscribe(node, reply) | Request::SubscribeAgent(node, _, reply) => {
                // Of a new node nothing is known while the translation is broken, not even that nothing names it.
                let translator = self.may_publish().then_some(&self.translator);
                drop(reply.send(self.node_states.subscribe(node, translator)));
            }
            Request::Nodes(reply) => {
                for node in self.node_states.sweep() {
                    self.change(Change::Facts(Edit::Delete(node)));
                }
                drop(reply.send(self.node_states.all()));
            }
            Request::Problems(reply) => drop(reply.send(self.problem_log.all().to_vec())),
            Request::Outputs(addresses, reply) => {
                let outputs_of = |address: &IpAddr| self.translator.outputs_of(address);
                let outputs = addresses.into_iter().map(|address| (address, outputs_of(&address)));
                drop(reply.send(outputs.collect()));
            }
        }
    }
}

#[cfg(test)]
#[path = "expected_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "broken_tests.rs"]
mod broken_tests;
