//! Kubernetes Events on NetworkPolicies, for who asks for them (`--policy-events`): that one is not understood, that it selects
//! nothing, that it is in force on all nodes of its pods.
//!
//! ```text
//! mirror, acknowledgements ─▶ look (a thread of the lowest priority) ─▶ NoticeRecord: due ───▶ write ─▶ events.k8s.io
//!                                                                         ▲ told, left out ◀─┘  limits
//! ```
//!
//! Nobody waits for it: it looks at what is mirrored now and then, and an API server that refuses costs nothing but its Events.
//! Replicas do not know of each other. They give the same Event the same name, so that one of them writes it; what is in force
//! on nodes each of them tells of those whose agents it serves.

mod notice;
mod record;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flock_compiler_core::object::Policy;
use flock_shared::{NodeName, PolicyKey};
use kube::Client;
use tokio::time::{Instant, sleep, sleep_until};

use self::notice::Notice;
use self::record::{Coverage, NoticeRecord, Scope, covered};
use self::write::{Outcome, Writer};
use crate::attach::TokenBucket;
use crate::background::idly;
use crate::engine::{EngineHandle, Sequence};
use crate::fleet::{Fleet, NodeAcks};
use crate::in_force;
use crate::metrics::Metrics;
use crate::mirror::Snapshot;
use crate::replicas::Replicas;

/// It rests for so many times as long as it has looked: less than 3 % of a core.
const REST: u32 = 40;
/// Requests at once, and in a second, whatever there is to tell.
const REQUESTS: (u64, u64) = (50, 5);

/// When it is looked, and how long what is probably not meant has to be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks.
    pub period: Duration,
    /// For so long a policy has to select nothing before that is told: pods of a rollout are mostly there in less.
    pub settled: Duration,
    /// After the API server has refused, which it is not asked again for so long.
    pub refused: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { period: seconds(5), settled: seconds(60), refused: seconds(300) }
    }
}

/// Tells of policies by Events.
#[derive(Debug)]
pub struct PolicyEvents {
    engine: EngineHandle,
    fleet: Arc<Fleet>,
    replicas: Replicas,
    metrics: Arc<Metrics>,
    writer: Writer,
    pace: Pace,
    requests: TokenBucket,
    /// The newest pass that was looked at; `None`: there was none.
    looked_up_to: Option<Sequence>,
}

impl PolicyEvents {
    /// Of what an engine publishes and a fleet has acknowledged, to the API server behind `client`.
    #[must_use]
    pub fn new(
        client: Client,
        engine: EngineHandle,
        (fleet, replicas): (Arc<Fleet>, Replicas),
        metrics: Arc<Metrics>,
        pace: Pace,
    ) -> Self {
        let writer = Writer::new(client, fleet.instance().to_owned(), pace.refused);
        let requests = TokenBucket::new(REQUESTS.0, REQUESTS.1, Instant::now());
        Self { engine, fleet, replicas, metrics, writer, pace, requests, looked_up_to: None }
    }

    /// Tells until the engine stops.
    pub async fn run(mut self) {
        let mut record = NoticeRecord::new(self.pace.settled);
        let passed = self.engine.passed();
        loop {
            sleep(self.pace.period).await;
            let Ok(snapshot) = self.engine.snapshot().await else { return };
            if passed.has_changed().is_err() {
                return;
            }
            let newest = snapshot.mirrored.sequence;
            if self.looked_up_to == Some(newest) && record.is_quiet() {
                continue;
            }
            let is_alone = self.replicas.count(&self.engine).await == Some(1);
            let look = PolicyLook { snapshot, before: self.looked_up_to.replace(newest), is_alone };
            let (engine, fleet) = (self.engine.clone(), Arc::clone(&self.fleet));
            let began = Instant::now();
            let looked = idly("policy-events", move || {
                let due = look.look(&mut record, &engine, &fleet);
                (record, due)
            });
            // It panics in a debug build only.
            let Some((looked, due)) = looked.await else { return };
            record = looked;
            let took = began.elapsed();
            self.tell(&mut record, due).await;
            sleep(took * REST).await;
        }
    }

    /// Writes what is due, as far as it may be told.
    async fn tell(&mut self, record: &mut NoticeRecord, due: Vec<Notice>) {
        for notice in due {
            let reason = notice.reason.as_str();
            if !self.writer.may_ask(Instant::now()) {
                return;
            }
            if !record.admit(&notice, Instant::now()) {
                self.metrics.policy_event(reason, "left_out");
                continue;
            }
            while let Err(later) = self.requests.ready(Instant::now()) {
                sleep_until(later).await;
            }
            self.requests.spend(1, Instant::now());
            let outcome = match self.writer.write(&notice).await {
                Outcome::Written => "written",
                Outcome::There => "there",
                Outcome::Refused => "failed",
                Outcome::Failed => {
                    self.metrics.policy_event(reason, "failed");
                    // What is due is found again.
                    return;
                }
            };
            self.metrics.policy_event(reason, outcome);
            record.spend(&notice, Instant::now());
            record.told(&notice);
        }
    }
}

/// A look at what is mirrored and acknowledged.
struct PolicyLook {
    snapshot: Snapshot,
    /// The pass that was looked at before.
    before: Option<Sequence>,
    is_alone: bool,
}

impl PolicyLook {
    fn look(&self, record: &mut NoticeRecord, engine: &EngineHandle, fleet: &Fleet) -> Vec<Notice> {
        let Self { snapshot, before, is_alone } = self;
        let (mirrored, now) = (&snapshot.mirrored, Instant::now());
        let changed = |key: &PolicyKey| engine.mirror().history(|history| history.policy(key));
        let touched =
            before.and_then(|before| engine.mirror().history(|history| history.touched_since(before)));
        let scope = touched.map_or(Scope::Everything, Scope::Namespaces);
        record.look(&mirrored.world, &scope, |key| changed(key).is_none(), now);
        let mut acks: BTreeMap<NodeName, Option<NodeAcks>> = BTreeMap::new();
        let mut coverage = |policy: &Policy| -> Coverage {
            let nodes = in_force::nodes_of(policy, &mirrored.world);
            for node in &nodes {
                acks.entry(node.clone()).or_insert_with(|| fleet.acks(node));
            }
            let changed = changed(&policy.key).map(|(sequence, _)| sequence).unwrap_or_default();
            let is_enforced = |node: &NodeName| {
                let acks = acks.get(node).and_then(Option::as_ref);
                acks.and_then(|acks| in_force::since(acks, changed, node, mirrored)).is_some()
            };
            covered(&nodes, |node| fleet.serves(node), is_enforced)
        };
        record.due(now, *is_alone, &mut coverage)
    }
}

#[cfg(test)]
mod tests;
