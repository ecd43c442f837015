//! What is known of policies beside their objects: on which of the nodes of their pods what they ask for is acknowledged, and
//! since when; what was dropped at those pods; and what is to be noted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use flock_ask::AskError;
use flock_compiler_core::Problem;
use flock_compiler_core::object::Direction;
use flock_proto::{DropDirection, v1};
use flock_shared::{NodeName, PolicyKey};

use super::questions::Asked;
use crate::drops::DropsHub;
use crate::fleet::{Fleet, NodeAcks};
use crate::in_force;
use crate::mirror::{Mirror, Snapshot};
use crate::service::context::Context;

/// Nodes that are named for one policy; more are counted.
const NAMED: usize = 100;

/// How far back packets count that were dropped.
const DROPS: Duration = Duration::from_secs(900);
/// Of more policies than these it is not said what is to be noted of them: that takes a while.
const NOTED: usize = 2000;

/// Adds to rows of policies the packets that were dropped of late at pods that they isolate.
pub(super) fn drops(rows: &mut [v1::PolicyRow], asked: &Asked<'_>, hub: &DropsHub) {
    let judge = asked.cluster.judge();
    let earliest = SystemTime::now().checked_sub(DROPS).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut found: BTreeMap<PolicyKey, u64> = BTreeMap::new();
    for (node, key, flow) in hub.flows(None) {
        let (direction, own) = match key.direction {
            DropDirection::Ingress => (Direction::Ingress, key.destination),
            DropDirection::Egress => (Direction::Egress, key.source),
        };
        if flow.last < earliest || flow.recent == 0 {
            continue;
        }
        // A node that was taken over tells what it likes of pods elsewhere.
        let owners = judge.place_of(own).owners.into_iter().filter(|pod| pod.node.as_ref() == Some(&node));
        let isolating: BTreeSet<PolicyKey> = owners
            .flat_map(|pod| judge.isolating(direction, &pod).map(|it| it.key.clone()).collect::<Vec<_>>())
            .collect();
        for policy in isolating {
            let packets = found.entry(policy).or_default();
            *packets = packets.saturating_add(flow.recent);
        }
    }
    for row in rows {
        let key = PolicyKey::new(&row.namespace, &row.name).ok();
        row.drops = Some(key.and_then(|key| found.get(&key).copied()).unwrap_or_default());
    }
}

/// Adds to rows of policies the codes of what is to be noted of them.
pub(super) fn notes(
    rows: &mut [v1::PolicyRow],
    asked: &Asked<'_>,
    namespace: &str,
    problems: &[Problem],
    context: &Context,
) -> Result<(), AskError> {
    if rows.len() > NOTED {
        return Ok(());
    }
    let request = v1::LintRequest { namespace: namespace.to_owned(), manifests: Vec::new() };
    let findings = super::lint::lint(asked, &request, problems, context)?;
    let noted = findings.into_iter().filter(|it| it.severity >= i32::from(v1::Severity::Warning));
    let mut codes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for finding in noted {
        codes.entry(finding.object).or_default().insert(finding.code);
    }
    for row in rows {
        let object = format!("NetworkPolicy {}/{}", row.namespace, row.name);
        row.notes = codes.remove(&object).into_iter().flatten().collect();
    }
    Ok(())
}

/// Adds to rows of policies what nodes have acknowledged.
pub(super) fn enforced(rows: &mut [v1::PolicyRow], snapshot: &Snapshot, mirror: &Mirror, fleet: &Fleet) {
    let mut acks: BTreeMap<NodeName, Option<NodeAcks>> = BTreeMap::new();
    for row in rows {
        let Ok(key) = PolicyKey::new(&row.namespace, &row.name) else { continue };
        let Some(policy) = snapshot.mirrored.world.policies().get(&key) else { continue };
        // Of a policy that has not changed since this compiler has started, the first pass knows.
        let changed = mirror.history(|history| history.policy(&key)).map(|(sequence, _)| sequence);
        let (mut missing, mut since) = (Vec::new(), None::<SystemTime>);
        let nodes = in_force::nodes_of(policy, &snapshot.mirrored.world);
        for node in &nodes {
            let acks = acks.entry(node.clone()).or_insert_with(|| fleet.acks(node));
            let since_when =
                |acks| in_force::since(acks, changed.unwrap_or_default(), node, &snapshot.mirrored);
            match acks.as_ref().and_then(since_when) {
                Some(at) => since = since.max(Some(at)),
                None => missing.push(node.to_string()),
            }
        }
        row.nodes = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        row.enforced = Some(u32::try_from(nodes.len() - missing.len()).unwrap_or(u32::MAX));
        row.since = since.filter(|_| missing.is_empty()).map(Into::into);
        missing.truncate(NAMED);
        row.missing = missing;
    }
}
