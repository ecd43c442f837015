//! The check before a replica says that it is ready.
//!
//! Its first pass is from nothing itself, and indexes all objects at once. So it is held against the other way: objects that
//! come one by one, the last first, into indexes that are there already, as changes do. That finds what depends on order, what
//! the indexes lose when something changes, and what parallel work leaves to chance.
//!
//! It never keeps a replica from being ready for long: what takes longer goes on beside it, and what differs is mended by a pass
//! from nothing, told and counted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{compare, report};
use crate::engine::EngineHandle;
use crate::metrics::Metrics;
use crate::mirror::Snapshot;

/// A replica is unready for the check for so long at most. A translation from nothing takes a second with 150,000 pods.
const LONGEST: Duration = Duration::from_secs(20);

/// Checks what an engine has translated first, unless `checked` is true already, which it is in the end whatever comes of it.
pub(crate) async fn check_at_start(
    engine: EngineHandle,
    metrics: Arc<Metrics>,
    checked: watch::Sender<bool>,
) {
    if *checked.borrow() {
        return;
    }
    // Without an engine the process is about to end.
    let Ok(snapshot) = engine.snapshot().await else { return };
    check(snapshot, engine, metrics, checked, LONGEST).await;
}

/// Checks a snapshot, and waits for so long at most.
pub(super) async fn check(
    snapshot: Snapshot,
    engine: EngineHandle,
    metrics: Arc<Metrics>,
    checked: watch::Sender<bool>,
    longest: Duration,
) {
    let mut checking = tokio::spawn(async move {
        let sequence = snapshot.mirrored.sequence;
        // Not at the lowest priority: agents wait for it. It panics in a debug build only.
        let found = spawn_blocking(move || compare::replayed(&snapshot)).await.unwrap_or_default();
        metrics.self_checks.inc();
        if report(&metrics, &found) && engine.start_over().await.is_ok() {
            // What is right is published before anybody is told that this replica is ready.
            drop(engine.passed().wait_for(|passed| *passed > sequence).await);
        }
    });
    if timeout(longest, &mut checking).await.is_err() {
        tracing::warn!(
            "the check of what was translated first takes longer than {longest:?}: ready without it"
        );
    }
    checked.send_replace(true);
}
