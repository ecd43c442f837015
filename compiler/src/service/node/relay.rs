//! Tells streams what was revoked on other nodes than their own, when it is time to look at connections by that.

use std::collections::BTreeMap;
use std::sync::Arc;

use flock_compiler_core::Output;
use flock_shared::NodeName;
use flock_shared::pause::until;
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::unsettled::{Tell, Unsettled};
use crate::engine::EngineHandle;
use crate::fleet::Fleet;

/// So much may be told that a stream has not heard yet. One that misses some takes it for anything.
const TELLS: usize = 64;

/// How a node has come to the state that stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Past {
    /// It had it when its agent came.
    Before,
    /// From one that nobody knows.
    Unknown,
}

/// What streams say of their nodes, until it is looked at: the last word of each.
#[derive(Debug, Default)]
struct Said {
    states: Mutex<BTreeMap<NodeName, (Past, Arc<Output>)>>,
    has_more: Notify,
}

/// Tells streams of revocations, for as long as it lives.
#[derive(Debug)]
pub(super) struct RevocationRelay {
    tells: broadcast::WeakSender<Tell>,
    said: Arc<Said>,
    _telling: JoinSet<()>,
}

impl RevocationRelay {
    /// Tells what the engine revokes from here on.
    pub(super) fn start(engine: &EngineHandle, fleet: Arc<Fleet>) -> Self {
        let (tells, said) = (broadcast::channel(TELLS).0, Arc::new(Said::default()));
        // Only the task holds the sender, so that streams notice when it has ended.
        let (weak, mut telling) = (tells.downgrade(), JoinSet::new());
        telling.spawn(tell(engine.clone(), fleet, Arc::clone(&said), tells));
        Self { tells: weak, said, _telling: telling }
    }

    /// What is told from here on. Closed where nobody tells any more.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Tell> {
        // Without the task, a channel that is closed: the stream ends with the engine.
        self.tells.upgrade().map_or_else(|| broadcast::channel(1).1, |tells| tells.subscribe())
    }

    /// This stands on a node.
    pub(super) fn stands(&self, past: Past, state: &Arc<Output>) {
        let mut states = self.said.states.lock();
        // What is not known of an earlier state is not known of a later one, either.
        let past = states.get(state.node()).map_or(past, |(earlier, _)| past.max(*earlier));
        states.insert(state.node().clone(), (past, Arc::clone(state)));
        self.said.has_more.notify_one();
    }
}

/// Until the engine is gone.
async fn tell(engine: EngineHandle, fleet: Arc<Fleet>, said: Arc<Said>, tells: broadcast::Sender<Tell>) {
    let mut revocations = engine.revocations();
    let mut unsettled = Unsettled::new(Instant::now());
    let mut looked = Instant::now();
    loop {
        // Looks keep their pace, however much is revoked.
        let due = unsettled.pause(Instant::now()).map(|pause| looked + pause);
        tokio::select! {
            revoked = revocations.recv() => match revoked {
                Ok(revoked) => unsettled.revoked(revoked, Instant::now()),
                Err(RecvError::Lagged(_)) => {
                    let newest = *engine.passed().borrow();
                    unsettled.missed(newest, fleet.here(), Instant::now());
                }
                Err(RecvError::Closed) => return,
            },
            () = said.has_more.notified() => {
                let states = std::mem::take(&mut *said.states.lock());
                for (past, state) in states.into_values() {
                    match past {
                        Past::Before => unsettled.came(state),
                        Past::Unknown => unsettled.stands_anew(state),
                    }
                }
            }
            () = until(due) => {
                looked = Instant::now();
                for tell in unsettled.look(looked, |node, sequence| fleet.progress(node, sequence)) {
                    // Nobody may be left who wants it.
                    let _ = tells.send(tell);
                }
            }
        }
    }
}
