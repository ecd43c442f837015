//! Tells streams what was revoked on other nodes than their own, when it is time to look at connections by that.

use std::sync::Arc;

use flock_compiler_core::Output;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::unsettled::{Tell, Unsettled};
use crate::engine::{EngineHandle, Revocations};
use crate::fleet::Fleet;

/// So much may be told that a stream has not heard yet. One that misses some takes it for anything.
const TELLS: usize = 64;

/// Tells streams of revocations, for as long as it lives.
#[derive(Debug)]
pub(super) struct RevocationRelay {
    tells: broadcast::Sender<Tell>,
    anew: mpsc::UnboundedSender<Arc<Output>>,
    _telling: JoinSet<()>,
}

impl RevocationRelay {
    /// Tells what the engine revokes from here on.
    pub(super) fn start(engine: &EngineHandle, fleet: Arc<Fleet>) -> Self {
        let tells = broadcast::channel(TELLS).0;
        let (anew, states) = mpsc::unbounded_channel();
        let mut telling = JoinSet::new();
        telling.spawn(tell(engine.revocations(), states, fleet, tells.clone()));
        Self { tells, anew, _telling: telling }
    }

    /// What is told from here on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Tell> {
        self.tells.subscribe()
    }

    /// A node has come to have this state, and nobody knows which it had before.
    pub(super) fn stands_anew(&self, state: &Arc<Output>) {
        // The other end lives as long as this one.
        let _ = self.anew.send(Arc::clone(state));
    }
}

/// Until the engine or the relay is gone.
async fn tell(
    mut revocations: Revocations,
    mut states: mpsc::UnboundedReceiver<Arc<Output>>,
    fleet: Arc<Fleet>,
    tells: broadcast::Sender<Tell>,
) {
    let mut unsettled = Unsettled::new(Instant::now());
    loop {
        let pause = unsettled.pause(Instant::now());
        let looking = async {
            match pause {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            revoked = revocations.recv() => match revoked {
                Ok(revoked) => unsettled.revoked(revoked, Instant::now()),
                Err(RecvError::Lagged(_)) => _ = tells.send(Tell::Anything),
                Err(RecvError::Closed) => return,
            },
            state = states.recv() => match state {
                Some(state) => unsettled.stands_anew(state),
                None => return,
            },
            () = looking => {}
        }
        let now = Instant::now();
        for tell in unsettled.look(now, |node, sequence| fleet.progress(node, sequence)) {
            // Nobody may be left who wants it.
            let _ = tells.send(tell);
        }
    }
}
