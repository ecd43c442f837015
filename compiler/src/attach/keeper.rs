//! Writing calls down: a task for each node that has any, which writes what has come together while it wrote before.
//!
//! A node whose pods start together costs a few writes. What could not be written is tried again for as long as it takes,
//! the newest call of each sandbox; who waits for it gives up when it likes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flock_compiler_core::object::PodUid;
use flock_shared::backoff::Backoff;
use flock_shared::cni::SandboxId;
use flock_shared::telemetry::causes;
use flock_shared::{NodeName, PodKey};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::record::{Edit, Entry};
use super::store::{Held, Store, StoreError};
use crate::engine::EngineHandle;
use crate::fleet::Fleet;

/// How long a task stays after its last call, and with it the object that it wrote: pods that start one after the other
/// then cost a write each, and no read.
const IDLE: Duration = Duration::from_secs(10);

/// How long the API server may take for one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pauses after a request that failed.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Calls on their way to a task.
const CALLS: usize = 64;

/// Why a call was not written down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    /// The cluster has no place for it.
    #[error("{0}")]
    Absent(String),
    /// It is not what can be written down.
    #[error("{0}")]
    Invalid(String),
    /// The task ended: the process is about to.
    #[error("the compiler is shutting down")]
    Ended,
}

/// What a call found of its sandbox.
type Found = Result<Option<Entry>, KeepError>;

struct Call {
    sandbox: SandboxId,
    edit: Edit,
    done: Option<oneshot::Sender<Found>>,
}

/// The tasks of all nodes.
#[derive(Debug, Clone)]
pub struct Keeper(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    engine: EngineHandle,
    fleet: Arc<Fleet>,
    tasks: Mutex<BTreeMap<NodeName, mpsc::Sender<Call>>>,
}

impl Keeper {
    /// A keeper that writes to `store`.
    #[must_use]
    pub fn new(store: Store, engine: EngineHandle, fleet: Arc<Fleet>) -> Self {
        Self(Arc::new(Shared { store, engine, fleet, tasks: Mutex::default() }))
    }

    /// Writes down that a node has a sandbox; returns once that is done.
    ///
    /// # Errors
    /// [`KeepError`] says why it never will be.
    pub async fn attach(&self, node: &NodeName, entry: Entry) -> Result<(), KeepError> {
        self.call(node, entry.id.clone(), Edit::Attach(entry)).await.map(drop)
    }

    /// Writes down that a sandbox is gone; returns once that is done, with what was written down of it before.
    ///
    /// # Errors
    /// [`KeepError`] says why it never will be.
    pub async fn detach(&self, node: &NodeName, sandbox: SandboxId) -> Found {
        self.call(node, sandbox, Edit::Detach).await
    }

    async fn call(&self, node: &NodeName, sandbox: SandboxId, edit: Edit) -> Found {
        let (done, answer) = oneshot::channel();
        self.hand(node, Call { sandbox, edit, done: Some(done) }).await;
        answer.await.map_err(|_| KeepError::Ended)?
    }

    /// Has these sandboxes of a node written down, and waits for nothing but room.
    pub async fn correct(&self, node: &NodeName, entries: Vec<Entry>) {
        for entry in entries {
            let call = Call { sandbox: entry.id.clone(), edit: Edit::Attach(entry), done: None };
            self.hand(node, call).await;
        }
    }

    async fn hand(&self, node: &NodeName, mut call: Call) {
        loop {
            let task = self.task(node);
            match task.send(call).await {
                Ok(()) => return,
                // It has just ended.
                Err(mpsc::error::SendError(back)) => call = back,
            }
        }
    }

    fn task(&self, node: &NodeName) -> mpsc::Sender<Call> {
        let mut tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = tasks.get(node).filter(|task| !task.is_closed()) {
            return task.clone();
        }
        let (sender, calls) = mpsc::channel(CALLS);
        tasks.insert(node.clone(), sender.clone());
        let task = Task {
            shared: Arc::clone(&self.0),
            node: node.clone(),
            calls,
            held: None,
            pending: BTreeMap::new(),
            found: BTreeMap::new(),
            waiting: Vec::new(),
        };
        tokio::spawn(task.run());
        sender
    }
}

/// Writes the calls of one node.
struct Task {
    shared: Arc<Shared>,
    node: NodeName,
    calls: mpsc::Receiver<Call>,
    /// What is written down, as far as this task knows.
    held: Option<Held>,
    /// The newest call of each sandbox that is not written down yet.
    pending: BTreeMap<SandboxId, Edit>,
    /// What was written down before of the sandboxes that are pending.
    found: BTreeMap<SandboxId, Entry>,
    /// Who waits for what is pending.
    waiting: Vec<(SandboxId, oneshot::Sender<Found>)>,
}

impl Task {
    async fn run(mut self) {
        loop {
            let call = match timeout(IDLE, self.calls.recv()).await {
                Ok(Some(call)) => call,
                Ok(None) => return,
                Err(_) => {
                    // A call that has been sent already is served, later ones find a closed channel and a new task.
                    self.calls.close();
                    match self.calls.recv().await {
                        Some(call) => call,
                        None => break,
                    }
                }
            };
            self.take(call);
            self.settle().await;
        }
        let mut tasks = self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Another task may have taken its place.
        if tasks.get(&self.node).is_some_and(mpsc::Sender::is_closed) {
            tasks.remove(&self.node);
        }
    }

    fn take(&mut self, Call { sandbox, edit, done }: Call) {
        self.waiting.extend(done.map(|done| (sandbox.clone(), done)));
        self.pending.insert(sandbox, edit);
    }

    /// Writes until nothing is pending.
    async fn settle(&mut self) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let mut told = false;
        while !self.pending.is_empty() {
            while let Ok(call) = self.calls.try_recv() {
                self.take(call);
            }
            let node = self.node.clone();
            let failure = match timeout(PATIENCE, self.round()).await {
                Ok(Ok(())) => {
                    self.answer(None);
                    continue;
                }
                Ok(Err(StoreError::Conflict)) => {
                    self.held = None;
                    continue;
                }
                Ok(Err(StoreError::Absent(why))) => {
                    tracing::debug!(%node, why, "what CNI did cannot be written down");
                    self.answer(Some(&KeepError::Absent(why)));
                    continue;
                }
                Ok(Err(StoreError::Invalid(why))) => {
                    tracing::error!(%node, why, "what CNI did cannot be written down");
                    self.answer(Some(&KeepError::Invalid(why)));
                    continue;
                }
                Ok(Err(error @ StoreError::Unreachable(_))) => causes(&error).to_string(),
                Err(_) => format!("no answer within {PATIENCE:?}"),
            };
            self.held = None;
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(%node, error = failure, "what CNI did is not written down yet");
            }
            tokio::select! {
                () = sleep(backoff.pause()) => {}
                Some(call) = self.calls.recv() => self.take(call),
            }
        }
    }

    /// Reads, unless that is known, edits and writes once; what was pending then is written down.
    async fn round(&mut self) -> Result<(), StoreError> {
        let held = match self.held.take() {
            Some(held) => held,
            None => self.shared.store.read(&self.node).await?,
        };
        let mut record = held.record.clone();
        let gone = self.gone(&held).await;
        record.sweep(|pod, uid| gone.iter().any(|(key, other)| key == pod && other == uid));
        let pending = held.record.entries().iter().filter(|entry| self.pending.contains_key(&entry.id));
        self.found = pending.map(|entry| (entry.id.clone(), entry.clone())).collect();
        let mut refused = None;
        for (sandbox, edit) in &self.pending {
            if let Err(full) = record.edit(sandbox, edit) {
                refused = Some(StoreError::Invalid(full.to_string()));
            }
        }
        let changed = record != held.record;
        self.held =
            Some(if changed { self.shared.store.write(&self.node, &held, record).await? } else { held });
        refused.map_or(Ok(()), Err)
    }

    /// The pods in a record that are no more. A replica may say that only while it serves the node's agent: until then it
    /// may not have read of pods that another one has written down.
    async fn gone(&self, held: &Held) -> Vec<(PodKey, PodUid)> {
        let served = self.shared.fleet.watch(&self.node).borrow().acknowledged.is_some();
        if !served || held.record.entries().is_empty() {
            return Vec::new();
        }
        let mut pods: Vec<(PodKey, PodUid)> =
            held.record.entries().iter().map(|entry| (entry.pod.clone(), entry.uid.clone())).collect();
        let looked = self.shared.engine.look(move |view| {
            let is_there = |(pod, uid): &(PodKey, PodUid)| {
                view.world.pods().get(pod).is_some_and(|known| known.uid.as_ref() == Some(uid))
            };
            pods.retain(|pod| !is_there(pod));
            pods
        });
        looked.await.unwrap_or_default()
    }

    /// Tells all who wait; nothing is pending then.
    fn answer(&mut self, error: Option<&KeepError>) {
        self.pending.clear();
        for (sandbox, done) in self.waiting.drain(..) {
            let found = self.found.get(&sandbox).cloned();
            // Who gave up does not want to know.
            drop(done.send(error.cloned().map_or(Ok(found), Err)));
        }
    }
}
