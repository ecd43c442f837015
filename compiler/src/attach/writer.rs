//! Writing calls down: a task for each node that has any, which writes what has come together while it wrote before.
//!
//! A node whose pods start together costs a few writes. What could not be written is tried again for as long as it takes,
//! the newest call of each sandbox; who waits for it gives up when it likes.
//!
//! A node may be somebody's who wants others to pay for it: so many writes a second and so many calls that wait are all that
//! it has here, and who has given up is not kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flock_compiler_core::object::{Lifecycle, PodUid};
use flock_shared::backoff::Backoff;
use flock_shared::causes;
use flock_shared::cni::SandboxId;
use flock_shared::{NodeName, PodKey};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::record::{Entry, RecordEdit};
use super::store::{Store, StoreError, StoredRecord};
use super::token_bucket::TokenBucket;
use crate::engine::EngineHandle;
use crate::fleet::Fleet;
use flock_convert::MOST_SANDBOXES;

/// How long a task stays after its last call, and with it the object that it wrote: pods that start one after the other
/// then cost a write each, and no read.
const IDLE: Duration = Duration::from_secs(10);

/// How long the API server may take for one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pauses after a request that failed.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long a write is put off for others to join it, once one has carried so many calls: that many pods are starting
/// together, and each write of theirs would cost every replica a look at the whole object.
const GATHER: Duration = Duration::from_millis(20);
const TOGETHER: usize = 4;

/// Calls on their way to a task.
const CALLS: usize = 64;

/// Sandboxes of one node that wait to be written down: all that it can have, and as many that are gone.
const PENDING: usize = 2 * MOST_SANDBOXES;

/// Bytes that are written of one node, at once and in a second; each write costs so many more. A node of 110 pods has 30 kB:
/// that is 100 writes and 30 a second, and pods that start faster share some. The largest object that there may be, of
/// somebody who wants others to read it, is written three times and then every second.
const WRITTEN: (u64, u64) = (4 << 20, 1 << 20);
const WRITE_COST: u64 = 4 << 10;

/// Why a call was not written down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The cluster has no place for it.
    #[error("{0}")]
    Absent(String),
    /// It is not what can be written down.
    #[error("{0}")]
    Invalid(String),
    /// There are too many calls of this node already.
    #[error("too many calls of the node wait to be written down")]
    Busy,
    /// The task ended: the process is about to.
    #[error("the compiler is shutting down")]
    Ended,
}

/// What a call found of its sandbox.
type Found = Result<Option<Entry>, WriteError>;

struct Call {
    sandbox: SandboxId,
    edit: RecordEdit,
    done: Option<oneshot::Sender<Found>>,
}

/// The tasks of all nodes.
#[derive(Debug, Clone)]
pub struct AttachmentWriter(Arc<WriterShared>);

#[derive(Debug)]
struct WriterShared {
    store: Store,
    engine: EngineHandle,
    fleet: Arc<Fleet>,
    tasks: Mutex<BTreeMap<NodeName, mpsc::Sender<Call>>>,
}

impl AttachmentWriter {
    /// Writes to `store`.
    #[must_use]
    pub fn new(store: Store, engine: EngineHandle, fleet: Arc<Fleet>) -> Self {
        Self(Arc::new(WriterShared { store, engine, fleet, tasks: Mutex::default() }))
    }

    /// Writes down that a node has a sandbox; returns once that is done.
    ///
    /// # Errors
    /// [`WriteError`] says why it never will be.
    pub async fn attach(&self, node: &NodeName, entry: Entry) -> Result<(), WriteError> {
        self.call(node, entry.id.clone(), RecordEdit::Attach(entry)).await.map(drop)
    }

    /// Writes down that a sandbox is gone; returns once that is done, with what was written down of it before.
    ///
    /// # Errors
    /// [`WriteError`] says why it never will be.
    pub async fn detach(&self, node: &NodeName, sandbox: SandboxId) -> Found {
        self.call(node, sandbox, RecordEdit::Detach).await
    }

    async fn call(&self, node: &NodeName, sandbox: SandboxId, edit: RecordEdit) -> Found {
        let (done, answer) = oneshot::channel();
        self.hand(node, Call { sandbox, edit, done: Some(done) }).await;
        answer.await.map_err(|_| WriteError::Ended)?
    }

    /// Has these sandboxes of a node written down, and waits for nothing but room.
    pub async fn correct(&self, node: &NodeName, entries: Vec<Entry>) {
        for entry in entries {
            let call = Call { sandbox: entry.id.clone(), edit: RecordEdit::Attach(entry), done: None };
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
        let mut tasks = self.0.tasks.lock();
        if let Some(task) = tasks.get(node).filter(|task| !task.is_closed()) {
            return task.clone();
        }
        let (sender, calls) = mpsc::channel(CALLS);
        // Still under the lock, so that a node never has two tasks that take calls.
        tasks.insert(node.clone(), sender.clone());
        let task = NodeWriter {
            shared: Arc::clone(&self.0),
            node: node.clone(),
            calls,
            held: None,
            pending: BTreeMap::new(),
            found: BTreeMap::new(),
            full: BTreeMap::new(),
            waiting: Vec::new(),
            // All of it for a new task: it would have come back in the time for which the one before was idle.
            written: TokenBucket::new(WRITTEN.0, WRITTEN.1, Instant::now()),
            together: None,
        };
        tokio::spawn(task.run());
        sender
    }
}

/// Writes the calls of one node.
struct NodeWriter {
    shared: Arc<WriterShared>,
    node: NodeName,
    calls: mpsc::Receiver<Call>,
    /// What is written down, as far as this task knows.
    held: Option<StoredRecord>,
    /// The newest call of each sandbox that is not written down yet.
    pending: BTreeMap<SandboxId, RecordEdit>,
    /// What was written down before of the sandboxes that are pending.
    found: BTreeMap<SandboxId, Entry>,
    /// Why some of what is pending was not written down.
    full: BTreeMap<SandboxId, WriteError>,
    /// Who waits for what is pending.
    waiting: Vec<(SandboxId, oneshot::Sender<Found>)>,
    written: TokenBucket,
    /// When calls that came together were written, if the last ones did.
    together: Option<Instant>,
}

impl NodeWriter {
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
        let mut tasks = self.shared.tasks.lock();
        // Another task may have taken its place.
        if tasks.get(&self.node).is_some_and(mpsc::Sender::is_closed) {
            tasks.remove(&self.node);
        }
    }

    fn take(&mut self, Call { sandbox, edit, done }: Call) {
        // While nothing can be written, callers come and go.
        self.waiting.retain(|(_, done)| !done.is_closed());
        if self.pending.len() >= PENDING && !self.pending.contains_key(&sandbox) {
            drop(done.map(|done| done.send(Err(WriteError::Busy))));
            return;
        }
        self.waiting.extend(done.map(|done| (sandbox.clone(), done)));
        self.pending.insert(sandbox, edit);
    }

    /// Writes until nothing is pending.
    async fn settle(&mut self) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let mut told = false;
        while !self.pending.is_empty() {
            // The budget first, whatever waits: it is what one node may cost all replicas.
            if let Err(later) = self.written.ready(Instant::now()) {
                sleep_until(later).await;
                continue;
            }
            if self.together.take().is_some_and(|last| last.elapsed() < GATHER) {
                self.gather().await;
            }
            // Whatever has come meanwhile goes with this write.
            while let Ok(call) = self.calls.try_recv() {
                self.take(call);
            }
            let node = self.node.clone();
            let failure = match timeout(PATIENCE, self.round()).await {
                Ok(Ok(())) => {
                    // Before the answer, which clears what is counted here.
                    self.together = (self.pending.len() >= TOGETHER).then(Instant::now);
                    self.answer(None);
                    continue;
                }
                // Another replica writes for the same node: at once, by what it has written.
                Ok(Err(StoreError::Conflict)) => {
                    self.held = None;
                    continue;
                }
                Ok(Err(StoreError::Absent(why))) => {
                    tracing::debug!(%node, why, "what CNI did cannot be written down");
                    // Nothing is kept for later: the agent tells it again until it is written down.
                    self.answer(Some(&WriteError::Absent(why)));
                    continue;
                }
                Ok(Err(StoreError::Invalid(why))) => {
                    tracing::error!(%node, why, "what CNI did cannot be written down");
                    self.answer(Some(&WriteError::Invalid(why)));
                    continue;
                }
                Ok(Err(error @ StoreError::Unreachable(_))) => causes(&error).to_string(),
                Err(_) => format!("no answer within {PATIENCE:?}"),
            };
            // What is written there is not known any more: a request without an answer may have been carried out.
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

    /// Takes what comes while a write is put off.
    async fn gather(&mut self) {
        let end = Instant::now() + GATHER;
        while let Ok(Some(call)) = timeout_at(end, self.calls.recv()).await {
            self.take(call);
        }
    }

    /// Reads, unless that is known, edits and writes once; what was pending then is written down.
    async fn round(&mut self) -> Result<(), StoreError> {
        // Taken out: if this fails or is cut off, it is not known any more what is written there.
        let held = match self.held.take() {
            Some(held) => held,
            None => self.shared.store.read(&self.node).await?,
        };
        let mut record = held.record.clone();
        // Pods that are gone first: they make room.
        let gone = self.gone(&held).await;
        record.sweep(|pod, uid| gone.iter().any(|(key, other)| key == pod && other == uid));
        let pending = held.record.entries().iter().filter(|entry| self.pending.contains_key(&entry.id));
        // Before the edits: a DEL has to know what its sandbox had been given.
        self.found = pending.map(|entry| (entry.id.clone(), entry.clone())).collect();
        self.full.clear();
        // What is gone makes room for what has come.
        let (gone, come): (Vec<_>, Vec<_>) =
            self.pending.iter().partition(|(_, edit)| matches!(edit, RecordEdit::Detach));
        for (sandbox, edit) in gone.into_iter().chain(come) {
            if let Err(full) = record.edit(sandbox, edit) {
                tracing::error!(node = %self.node, %sandbox, %full, "what CNI did cannot be written down");
                self.full.insert(sandbox.clone(), WriteError::Invalid(full.to_string()));
            }
        }
        // Each write has every replica look at the whole object, so what changes nothing is not written.
        if record == held.record {
            self.held = Some(held);
            return Ok(());
        }
        // Before the write, and whatever comes of it: an attempt costs the API server as much.
        self.written.spend(WRITE_COST + record.weight(), Instant::now());
        self.held = Some(self.shared.store.write(&self.node, &held, record).await?);
        Ok(())
    }

    /// The pods in a record that are no more. A replica may say that only while it serves the node's agent: until then it
    /// may not have read of pods that another one has written down. Where there is little room, pods that have ended are no
    /// more, either: they have no address, whatever is said of them, and somebody may leave a thousand of their objects.
    async fn gone(&self, held: &StoredRecord) -> Vec<(PodKey, PodUid)> {
        let served = self.shared.fleet.watch(&self.node).borrow().acknowledged.is_some();
        if !served || held.record.entries().is_empty() {
            return Vec::new();
        }
        let mut pods: Vec<(PodKey, PodUid)> =
            held.record.entries().iter().map(|entry| (entry.pod.clone(), entry.uid.clone())).collect();
        let is_crowded = pods.len() >= MOST_SANDBOXES / 2;
        let looked = self.shared.engine.look(move |view| {
            let is_there = |(pod, uid): &(PodKey, PodUid)| {
                let known = view.world.pods().get(pod).filter(|known| known.uid.as_ref() == Some(uid));
                known.is_some_and(|known| !is_crowded || known.lifecycle != Lifecycle::Finished)
            };
            pods.retain(|pod| !is_there(pod));
            pods
        });
        // An engine that has stopped says of no pod that it is gone.
        looked.await.unwrap_or_default()
    }

    /// Tells all who wait; nothing is pending then.
    fn answer(&mut self, error: Option<&WriteError>) {
        self.pending.clear();
        for (sandbox, done) in self.waiting.drain(..) {
            let found = self.found.get(&sandbox).cloned();
            let error = error.or_else(|| self.full.get(&sandbox)).cloned();
            // Who gave up does not want to know.
            drop(done.send(error.map_or(Ok(found), Err)));
        }
    }
}
