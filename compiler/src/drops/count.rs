//! Dropped packets by namespace, direction and reason, for metrics. Namespaces are many and tenants make them, so those that
//! come late are counted together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use flock_ask::carried;
use flock_compiler_core::judge::{Flow, Judge, Verdict};
use flock_compiler_core::object::Direction;
use flock_proto::{DropDirection, Drops};
use flock_shared::{NamespaceName, NodeName};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

use super::{DropsHub, NodeDrops};
use crate::engine::EngineHandle;
use crate::metrics::Metrics;

/// Namespaces that are told apart.
const NAMESPACES: usize = 500;
/// It rests for so many times as long as it has judged: a flood of drops costs a quarter of a core at most.
const REST: u32 = 3;

/// What dropped packets are counted by. The namespace is that of the isolated pod.
pub(super) type By = (Option<NamespaceName>, Direction, &'static str);

/// Counts what nodes tell, until the engine stops.
pub(crate) async fn count(hub: Arc<DropsHub>, engine: EngineHandle, metrics: Arc<Metrics>) {
    let mut batches = hub.listen();
    let mut known: BTreeSet<NamespaceName> = BTreeSet::new();
    loop {
        let batch: Arc<NodeDrops> = match batches.recv().await {
            Ok(batch) => batch,
            // What was missed is in nobody's count; flows and totals of the hub have it.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let Ok(snapshot) = engine.snapshot().await else { return };
        let began = Instant::now();
        let judging = tokio::task::spawn_blocking(move || {
            let mirrored = &snapshot.mirrored;
            let judge = Judge::with_index(&mirrored.world, snapshot.options.unready_pods, &mirrored.index);
            counted(&judge.with_over_budget(&mirrored.over_budget), &batch.node, &batch.drops)
        });
        let Ok(counts) = judging.await else { return };
        for ((namespace, direction, reason), packets) in counts {
            let namespace = namespace.filter(|namespace| {
                known.contains(namespace) || known.len() < NAMESPACES && known.insert(namespace.clone())
            });
            metrics.policy_drops(namespace.as_ref(), direction, reason, packets);
        }
        sleep(began.elapsed() * REST).await;
    }
}

/// The packets of a batch. Those of pods that are not on the node are nobody's.
pub(super) fn counted(judge: &Judge<'_>, node: &NodeName, drops: &Drops) -> BTreeMap<By, u64> {
    let mut counts: BTreeMap<By, u64> = BTreeMap::new();
    for dropped in drops.flows().iter().filter(|flow| flow.packets > 0) {
        let key = &dropped.key;
        let direction = match key.direction {
            DropDirection::Ingress => Direction::Ingress,
            DropDirection::Egress => Direction::Egress,
        };
        let carries = carried(key.protocol, key.port);
        let [source, destination] = [key.source, key.destination].map(|address| judge.place_of(address));
        let flow = Flow { source, destination, carries };
        let own = match direction {
            Direction::Egress => &flow.source,
            Direction::Ingress => &flow.destination,
        };
        let pod = own.owners.iter().find(|pod| pod.node.as_ref() == Some(node));
        let namespace = pod.map(|pod| pod.key.namespace.clone());
        let judgement = judge.judge(&flow);
        let reason = reason(judgement.of(direction));
        let packets = counts.entry((namespace, direction, reason)).or_default();
        *packets = packets.saturating_add(dropped.packets);
    }
    let packets = |counts: &mut BTreeMap<By, u64>, direction, packets: u64| {
        if packets > 0 {
            counts.insert((None, direction, "no_room"), packets);
        }
    };
    packets(&mut counts, Direction::Ingress, drops.unlisted.ingress);
    packets(&mut counts, Direction::Egress, drops.unlisted.egress);
    counts
}

const fn reason(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Denied(_) => "isolated",
        Verdict::OverBudget(_) => "over_budget",
        Verdict::Unready(_) => "unready",
        Verdict::Contested(_) => "contested",
        // By objects that were other ones when it was dropped, or of a forged source.
        Verdict::Open | Verdict::Exempt(_) | Verdict::Allowed(_) => "other",
    }
}
