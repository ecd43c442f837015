//! Tells the compiler what no call of the plugin is telling it, or none has told with success.

use std::time::Duration;

use flock_shared::backoff::Backoff;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::client::Outcome;
use super::failures::FailureKind;
use super::handler::CallHandler;
use super::sandboxes::{PendingCall, Sandboxes};

/// Told at once: the compiler writes them down together.
const TOGETHER: usize = 16;
/// How long the compiler may take for each.
const LIMIT: Duration = Duration::from_secs(5);
/// Between attempts that failed.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// When a compiler is asked again that had no place for it.
const UNSUPPORTED: Duration = Duration::from_secs(60);

/// How a round of calls went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RoundResult {
    Told,
    Failed,
    Unsupported,
}

/// Tells, again and again.
pub async fn run(handler: &CallHandler) {
    let mut changes = handler.store.changes();
    let mut connection = handler.client.connection.clone();
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    while connection.wait_for(Option::is_some).await.is_ok() {
        connection.mark_unchanged();
        if until(&handler.store, &mut changes, Sandboxes::has_pending).await.is_none() {
            return;
        }
        let pause = match round(handler).await {
            RoundResult::Told => {
                backoff.reset();
                continue;
            }
            RoundResult::Failed => backoff.pause(),
            RoundResult::Unsupported => UNSUPPORTED,
        };
        tokio::select! {
            // Another compiler, perhaps.
            _ = connection.changed() => {}
            Some(()) = until(&handler.store, &mut changes, Sandboxes::has_untried) => {}
            () = sleep(pause) => {}
        }
    }
}

/// Waits until something holds of the sandboxes; `None`: it will not.
async fn until(
    store: &super::store::SandboxStore,
    changes: &mut watch::Receiver<u64>,
    holds: impl Fn(&Sandboxes) -> bool,
) -> Option<()> {
    loop {
        // Before it is looked, so that what changes after that wakes this.
        changes.mark_unchanged();
        if store.read(&holds) {
            return Some(());
        }
        changes.changed().await.ok()?;
    }
}

/// Tells some of what is pending.
async fn round(handler: &CallHandler) -> RoundResult {
    let pending = handler.store.mark(|sandboxes| sandboxes.pending(TOGETHER));
    let count = pending.len();
    let mut calls = JoinSet::new();
    for pending in pending {
        let client = handler.client.clone();
        calls.spawn(async move {
            let outcome = client.call(&pending, Instant::now() + LIMIT).await;
            (pending, outcome)
        });
    }
    let mut worst = RoundResult::Told;
    while let Some(Ok((pending, outcome))) = calls.join_next().await {
        handler.store.edit(|sandboxes| sandboxes.settle(&pending, outcome.result()));
        worst = worst.max(match outcome {
            Outcome::Done(_) => RoundResult::Told,
            Outcome::Refused(why) => {
                refused(&pending, &why);
                RoundResult::Told
            }
            Outcome::Unsupported(why) => {
                handler.failed(FailureKind::Unsupported, "none", Some(&pending), &why);
                RoundResult::Unsupported
            }
            Outcome::Late(why) => {
                debug!(debt = ?pending, why, "the compiler was not told");
                RoundResult::Failed
            }
        });
    }
    if worst == RoundResult::Told {
        info!(count, "the compiler was told what CNI did before");
    }
    worst
}

fn refused(pending: &PendingCall, why: &str) {
    if let PendingCall::Attach(sandbox, _) = pending {
        warn!(pod = %sandbox.pod, sandbox = %sandbox.id, why = ?why, "a sandbox was refused and is forgotten");
    }
}
