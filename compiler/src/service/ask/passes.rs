//! What has changed of late, and when nodes had it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use flock_ask::Sight;
use flock_proto::v1;
use flock_shared::{NamespaceName, NodeName};

use super::opened;
use super::questions::Asked;
use crate::fleet::{Fleet, NodeAcks};
use crate::mirror::{History, Mirror, PassRecord};

/// How far back is told where nobody says.
const SINCE: Duration = Duration::from_secs(3600);
/// Passes of one answer: the newest.
const PASSES: usize = 1000;

/// The passes of some time that concern a namespace, or all, the oldest first.
pub(super) fn passes(
    asked: &Asked<'_>,
    mirror: &Mirror,
    fleet: &Fleet,
    (namespace, since): (Option<&NamespaceName>, Option<Duration>),
) -> Vec<v1::PassRow> {
    let earliest = SystemTime::now().checked_sub(since.unwrap_or(SINCE)).unwrap_or(SystemTime::UNIX_EPOCH);
    // Copied, so that the mirror waits for no acknowledgement.
    let (records, names) = mirror.history(|history| {
        let concerns = |record: &&PassRecord| {
            namespace.is_none_or(|namespace| record.counts.contains_key(&Some(namespace.clone())))
        };
        let found = history.passes().take_while(|record| record.at >= earliest).filter(concerns);
        let mut records: Vec<PassRecord> = found.take(PASSES).cloned().collect();
        records.reverse();
        let names = names(history, &records);
        (records, names)
    });
    let acks: HashMap<u32, NodeAcks> =
        names.into_iter().filter_map(|(id, name)| Some((id, fleet.acks(&name)?))).collect();
    let is_about_policies =
        |it: &&PassRecord| it.objects.iter().any(|it| matches!(it.kind, "NetworkPolicy" | "Namespace"));
    let about_policies = records.iter().rev().filter(is_about_policies).map(|record| record.sequence);
    let counts = opened::counts(asked, mirror, about_policies);
    let row = |record: &PassRecord| {
        let count = counts.get(&record.sequence).copied();
        let (opened, closed) = count.unzip();
        v1::PassRow { opened, closed, ..row(record, namespace, &acks, asked.sight) }
    };
    records.iter().map(row).collect()
}

fn names(history: &History, records: &[PassRecord]) -> HashMap<u32, NodeName> {
    let ids = records.iter().flat_map(|record| record.nodes.iter());
    let mut names = HashMap::new();
    for id in ids {
        if let (std::collections::hash_map::Entry::Vacant(entry), Some(name)) =
            (names.entry(id), history.node(id))
        {
            entry.insert(name.clone());
        }
    }
    names
}

fn row(
    record: &PassRecord,
    namespace: Option<&NamespaceName>,
    acks: &HashMap<u32, NodeAcks>,
    sight: &Sight,
) -> v1::PassRow {
    let is_asked = |of: Option<&NamespaceName>| match namespace {
        Some(namespace) => of == Some(namespace),
        None => of.is_none_or(|of| sight.sees(of)),
    };
    let named = record.objects.iter().filter(|object| match namespace {
        // A Namespace is named as itself.
        Some(namespace) if object.kind == "Namespace" => &*object.name == namespace.as_str(),
        _ => is_asked(object.namespace.as_ref()),
    });
    let counted = record.counts.iter().filter(|(of, _)| is_asked(of.as_ref()));
    let had: Vec<SystemTime> = record
        .nodes
        .iter()
        .filter_map(|id| acks.get(&id).and_then(|acks| acks.had(record.sequence)))
        .collect();
    let acknowledged = u32::try_from(had.len()).unwrap_or(u32::MAX);
    let is_everywhere = acknowledged == record.nodes.len() && !record.nodes.is_empty();
    v1::PassRow {
        time: Some(record.at.into()),
        objects: named.map(ToString::to_string).collect(),
        objects_total: counted.map(|(_, count)| *count).fold(0, u32::saturating_add),
        nodes: record.nodes.len(),
        took: prost_types::Duration::try_from(record.took).ok(),
        acknowledged,
        acknowledged_by: had.into_iter().max().filter(|_| is_everywhere).map(Into::into),
        opened: None,
        closed: None,
        sequence: record.sequence.number(),
    }
}
