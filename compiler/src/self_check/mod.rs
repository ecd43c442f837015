//! The compiler checks itself, slowly and all the time: words against tables, and what is published against a translation from
//! nothing. What differs is a mistake of this program: it is counted, and logged with what is needed to see it again. Where a
//! translation from nothing differs, the engine starts over from nothing, which publishes what is right.
//!
//! ```text
//! passes ─▶ nodes that changed ─▶ sample: flows ─▶ words = table? ─ no ─▶ metric, log, and soon
//!                                                                               │
//! every few minutes ─▶ compare: translation from nothing = published? ◀─────────┘
//!                          └ no ─▶ metric, log, engine: start over
//! ```
//!
//! Before a replica says that it is ready, the objects that it has listed are translated in another way (`start`).
//!
//! It works on a thread of the lowest priority, and rests for many times as long as it has worked.

mod compare;
mod sample;
mod start;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flock_compiler_core::judge::Judge;
use flock_compiler_core::nft::read::GRAMMAR;
use flock_shared::NodeName;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::time::{Instant as Moment, sleep, sleep_until};

use crate::background::idly;
use crate::engine::{EngineHandle, EngineStopped, Sequence};
use crate::metrics::Metrics;
use crate::mirror::Snapshot;

pub(crate) use self::start::check_at_start;

/// It rests for so many times as long as it has worked: 1.6 % of a core, which leaves room for what is made for it elsewhere.
const REST: u32 = 60;
/// Nodes that wait to be looked at; of a change to more of them some are looked at.
const WAITING: usize = 8192;
/// How soon everything is compared after words and table of a node differed.
const SOON: Duration = Duration::from_secs(60);
/// Differences that are logged of one look, each with its node.
const LOGGED: usize = 5;

/// The check.
#[derive(Debug)]
pub struct SelfCheck {
    engine: EngineHandle,
    metrics: Arc<Metrics>,
    /// How often everything is translated from nothing.
    interval: Duration,
    /// When it is next.
    due: Moment,
    waiting: BTreeSet<NodeName>,
    /// The node that was looked at last: the next one is behind it, so that those that change all the time do not keep the check
    /// from others.
    looked_at: Option<NodeName>,
    looked_up_to: Sequence,
}

impl SelfCheck {
    /// Of an engine, with a translation from nothing this often.
    #[must_use]
    pub fn new(engine: EngineHandle, metrics: Arc<Metrics>, interval: Duration) -> Self {
        let due = Moment::now() + interval;
        let (waiting, looked_at, looked_up_to) = (BTreeSet::new(), None, Sequence::default());
        Self { engine, metrics, interval, due, waiting, looked_at, looked_up_to }
    }

    /// Checks until the engine stops.
    pub async fn run(mut self) {
        let mut passed = self.engine.passed();
        loop {
            if self.waiting.is_empty() {
                tokio::select! {
                    changed = passed.changed() => if changed.is_err() { return },
                    () = sleep_until(self.due) => {}
                }
            }
            let Ok(snapshot) = self.engine.snapshot().await else { return };
            let began = Instant::now();
            self.take_down(&snapshot);
            if Moment::now() >= self.due {
                if self.everything(snapshot).await.is_err() {
                    return;
                }
                self.due = Moment::now() + self.interval;
            } else if let Some(node) = self.next_node() {
                self.node(snapshot, node).await;
            }
            sleep(began.elapsed() * REST).await;
        }
    }

    /// Takes down which nodes have changed.
    fn take_down(&mut self, snapshot: &Snapshot) {
        let (newest, before) = (snapshot.mirrored.sequence, self.looked_up_to);
        self.looked_up_to = newest;
        let waiting = &mut self.waiting;
        self.engine.mirror().history(|history| {
            let passes = history.passes().take_while(|pass| pass.sequence > before);
            for id in passes.flat_map(|pass| pass.nodes.iter()) {
                // What is left out here is compared with everything else once that is due.
                if waiting.len() >= WAITING {
                    break;
                }
                waiting.extend(history.node(id).cloned());
            }
        });
    }

    /// The node to look at next, of those that wait.
    fn next_node(&mut self) -> Option<NodeName> {
        // Behind the one before: nodes that change all the time do not keep others from being looked at.
        let behind = self
            .looked_at
            .take()
            .and_then(|last| self.waiting.range((Bound::Excluded(last), Bound::Unbounded)).next().cloned());
        let next = behind.or_else(|| self.waiting.first().cloned())?;
        self.waiting.remove(&next);
        self.looked_at = Some(next.clone());
        Some(next)
    }

    /// Judges some flows of a node both ways.
    async fn node(&mut self, snapshot: Snapshot, node: NodeName) {
        let mut random = SmallRng::from_rng(&mut rand::rng());
        let found = idly("self-check", move || {
            let mirrored = &snapshot.mirrored;
            let Some(output) = mirrored.outputs.get(&node) else { return Vec::new() };
            // What a node cannot read it is held closed without.
            let is_closed = mirrored.world.facts().get(&node).is_some_and(|facts| facts.grammar < GRAMMAR);
            if is_closed {
                return Vec::new();
            }
            let judge = Judge::with_index(&mirrored.world, snapshot.options.unready_pods, &mirrored.index);
            let judge = judge.with_over_budget(&mirrored.over_budget);
            let flows = sample::flows(&judge, output, &mut random);
            sample::contradictions(&judge, output, &flows)
        });
        let found = found.await.unwrap_or_default();
        if self.report(&found) {
            // It may be the table that is wrong. Often this would cost more than it tells.
            self.due = self.due.min(Moment::now() + self.interval.min(SOON));
        }
    }

    /// Compares what is published with a translation from nothing, and has that published where they differ.
    async fn everything(&self, snapshot: Snapshot) -> Result<(), EngineStopped> {
        let found = idly("self-check", move || compare::differences(&snapshot)).await.unwrap_or_default();
        self.metrics.self_checks.inc();
        if self.report(&found) {
            self.engine.start_over().await?;
        }
        Ok(())
    }

    /// Counts what was found, and says it. Returns true if there is anything.
    fn report(&self, found: &[impl Display]) -> bool {
        report(&self.metrics, found)
    }
}

/// Counts what was found, and says it. Returns true if there is anything.
fn report(metrics: &Metrics, found: &[impl Display]) -> bool {
    metrics.contradictions.inc_by(found.len() as u64);
    for one in found.iter().take(LOGGED) {
        tracing::error!("{one}: please report this, with `flockctl bundle`");
    }
    !found.is_empty()
}

#[cfg(test)]
pub(crate) mod tests;
