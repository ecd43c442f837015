//! Pays what the book owes: tells the compiler what no call is telling it, or none has told with success.

use std::time::Duration;

use flock_shared::backoff::Backoff;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::book::{Book, Debt};
use super::desk::Desk;
use super::line::Outcome;
use super::tally::Miss;

/// Told at once: the compiler writes them down together.
const TOGETHER: usize = 16;
/// How long the compiler may take for each.
const LIMIT: Duration = Duration::from_secs(5);
/// Between attempts that failed.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// When a compiler is asked again that had no place for it.
const UNSUPPORTED: Duration = Duration::from_secs(60);

/// How a round went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Round {
    Paid,
    Failed,
    Unsupported,
}

/// Pays, again and again.
pub async fn pay(desk: &Desk) {
    let mut changes = desk.keeper.changes();
    let mut way = desk.line.way.clone();
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    while way.wait_for(Option::is_some).await.is_ok() {
        way.mark_unchanged();
        if until(&desk.keeper, &mut changes, Book::is_in_debt).await.is_none() {
            return;
        }
        let pause = match round(desk).await {
            Round::Paid => {
                backoff.reset();
                continue;
            }
            Round::Failed => backoff.pause(),
            Round::Unsupported => UNSUPPORTED,
        };
        tokio::select! {
            // Another compiler, perhaps.
            _ = way.changed() => {}
            Some(()) = until(&desk.keeper, &mut changes, Book::has_fresh_debt) => {}
            () = sleep(pause) => {}
        }
    }
}

/// Waits until something holds of the book; `None`: it will not.
async fn until(
    keeper: &super::keeper::Keeper,
    changes: &mut watch::Receiver<u64>,
    holds: impl Fn(&Book) -> bool,
) -> Option<()> {
    loop {
        changes.mark_unchanged();
        if keeper.read(&holds) {
            return Some(());
        }
        changes.changed().await.ok()?;
    }
}

/// Tells some of what is owed.
async fn round(desk: &Desk) -> Round {
    let debts = desk.keeper.mark(|book| book.debts(TOGETHER));
    let count = debts.len();
    let mut calls = JoinSet::new();
    for debt in debts {
        let line = desk.line.clone();
        calls.spawn(async move {
            let outcome = line.call(&debt, Instant::now() + LIMIT).await;
            (debt, outcome)
        });
    }
    let mut worst = Round::Paid;
    while let Some(Ok((debt, outcome))) = calls.join_next().await {
        desk.keeper.edit(|book| book.settle(&debt, outcome.settled()));
        worst = worst.max(match outcome {
            Outcome::Done(_) => Round::Paid,
            Outcome::Refused(why) => {
                refused(&debt, &why);
                Round::Paid
            }
            Outcome::Unsupported(why) => {
                desk.miss(Miss::Unsupported, "none", Some(&debt), &why);
                Round::Unsupported
            }
            Outcome::Late(why) => {
                debug!(?debt, why, "the compiler was not told");
                Round::Failed
            }
        });
    }
    if worst == Round::Paid {
        info!(count, "the compiler was told what CNI did before");
    }
    worst
}

fn refused(debt: &Debt, why: &str) {
    if let Debt::Attach(sandbox, _) = debt {
        warn!(pod = %sandbox.pod, sandbox = %sandbox.id, why = ?why, "a sandbox was refused and is forgotten");
    }
}
