//! What other nodes revoke, until the agent of this one is told to look at the connections that it concerns.

use flock_compiler_core::forget::isolated;
use flock_shared::prefixes::Prefixes;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::unsettled::Tell;
use crate::engine::{EngineStopped, Published};

/// What has been revoked elsewhere.
#[derive(Debug)]
pub(super) struct RemoteRevocations {
    tells: Receiver<Tell>,
    /// Addresses of which the agent is to be told.
    lost: Prefixes,
}

impl RemoteRevocations {
    pub(super) fn new(tells: Receiver<Tell>) -> Self {
        Self { tells, lost: Prefixes::default() }
    }

    /// Waits for the next. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Tell, RecvError> {
        self.tells.recv().await
    }

    /// Takes down what of that concerns a node that is to have `newest`.
    pub(super) fn heard(
        &mut self,
        told: Result<Tell, RecvError>,
        newest: Option<&Published>,
    ) -> Result<(), EngineStopped> {
        let Some(newest) = newest else { return Ok(()) };
        let lost = match told {
            // What its own node revokes, its update names.
            Ok(Tell::Revoked(what)) if what.by().iter().all(|node| node == newest.output().node()) => {
                return Ok(());
            }
            Ok(Tell::Revoked(what)) => what.concerning(newest.output()),
            // What was missed may have been about anybody.
            Ok(Tell::Anything) | Err(RecvError::Lagged(_)) => isolated(newest.output()),
            Err(RecvError::Closed) => return Err(EngineStopped),
        };
        if !lost.is_empty() {
            self.lost.extend(lost.iter().copied());
        }
        Ok(())
    }

    /// Everything may have been revoked for the isolated pods of `state`: there was nobody who heard of it.
    pub(super) fn assume_all(&mut self, state: &Published) {
        self.lost = isolated(state.output());
    }

    /// What the agent is to be told of; nothing is left then.
    pub(super) fn take(&mut self) -> Prefixes {
        std::mem::take(&mut self.lost)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lost.is_empty()
    }
}
