//! The record of sandboxes, shared by all tasks that change it; each change is written to disk.
//!
//! A change is written down before the compiler is told of it. So at whichever moment the agent is killed, a sandbox that
//! the compiler may know of and that is gone is in the record that the next agent finds, and one that the plugin was told
//! about, too. A disk that does not take it, or not in time, holds nothing up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flock_shared::backoff::Backoff;
use flock_shared::cni::Sandbox;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::sandboxes::Sandboxes;
use super::saved::SandboxFile;

/// How long the disk is waited for.
const DISK_LIMIT: Duration = Duration::from_millis(250);
/// When a disk is tried again that did not take the record of sandboxes.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// A change of the record of sandboxes; later ones include it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change(u64);

/// The record of sandboxes, for all who change it.
#[derive(Debug, Clone)]
pub struct SandboxStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Never held while anything is waited for.
    sandboxes: Mutex<Sandboxes>,
    changed: watch::Sender<u64>,
    /// The newest change that the disk was offered and has taken or refused.
    offered: watch::Sender<u64>,
    /// Counts changes that no call has told the compiler of.
    unasked: watch::Sender<u64>,
    file: Option<SandboxFile>,
}

impl SandboxStore {
    /// Goes on with the record of sandboxes on disk, if there is one.
    #[must_use]
    pub fn new(file: Option<SandboxFile>) -> Self {
        let sandboxes = Mutex::new(file.as_ref().map(SandboxFile::load).unwrap_or_default());
        let [changed, offered, unasked] = [(), (), ()].map(|()| watch::channel(0).0);
        Self(Arc::new(Shared { sandboxes, changed, offered, unasked, file }))
    }

    /// Looks at the record of sandboxes.
    pub fn read<T>(&self, look: impl FnOnce(&Sandboxes) -> T) -> T {
        look(&self.0.sandboxes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes nothing that is written to disk.
    pub fn mark<T>(&self, mark: impl FnOnce(&mut Sandboxes) -> T) -> T {
        mark(&mut self.0.sandboxes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the record of sandboxes.
    pub fn edit<T>(&self, edit: impl FnOnce(&mut Sandboxes) -> T) -> (T, Change) {
        let mut sandboxes = self.0.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
        let done = edit(&mut sandboxes);
        let mut change = 0;
        self.0.changed.send_modify(|number| {
            *number += 1;
            change = *number;
        });
        (done, Change(change))
    }

    /// Says that the compiler is to be told of all sandboxes again.
    pub fn tell_again(&self) {
        self.0.unasked.send_modify(|times| *times += 1);
    }

    /// Waits until a change is written down, or the disk has been given enough time for it.
    pub async fn written(&self, change: Change) {
        if self.0.file.is_none() {
            return;
        }
        let mut offered = self.0.offered.subscribe();
        let waiting = offered.wait_for(|offered| *offered >= change.0);
        if timeout(DISK_LIMIT, waiting).await.is_err() {
            debug!("the disk is slow; a sandbox is not written down yet");
        }
    }

    /// Tells of each change of the record of sandboxes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Changes when the compiler is to be told of all sandboxes again.
    #[must_use]
    pub fn unasked(&self) -> watch::Receiver<u64> {
        self.0.unasked.subscribe()
    }

    /// The node's sandboxes.
    #[must_use]
    pub fn present(&self) -> Vec<Sandbox> {
        self.read(Sandboxes::present)
    }

    /// Writes the record of sandboxes down, again and again.
    pub async fn run(&self) {
        let Some(file) = &self.0.file else { return std::future::pending().await };
        let mut changes = self.changes();
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        let mut has_failed = false;
        loop {
            if !has_failed && changes.changed().await.is_err() {
                return;
            }
            // What others change while the disk is at it goes into the next round, all at once.
            let number = *changes.borrow_and_update();
            let (kept, file) = (self.read(Sandboxes::kept), file.clone());
            // Off the loop: a slow disk must not hold up nft or the stream.
            let stored = tokio::task::spawn_blocking(move || file.store(kept)).await;
            let failure = match stored {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            // Also after a failure: a pod does not wait for a disk that refuses.
            self.0.offered.send_replace(number);
            match failure {
                None => {
                    has_failed = false;
                    backoff.reset();
                }
                Some(error) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        warn!(error, "the node's sandboxes could not be saved");
                    }
                    // A change is offered to the disk at once all the same: somebody waits for it.
                    tokio::select! {
                        () = sleep(backoff.pause()) => {}
                        _ = changes.changed() => {}
                    }
                }
            }
        }
    }
}
