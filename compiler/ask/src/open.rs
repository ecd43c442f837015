//! `open`: pods that nothing isolates, by workload.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use flock_compiler_core::Labels;
use flock_compiler_core::object::{Direction, Lifecycle, Pod};
use flock_proto::v1;
use flock_shared::NamespaceName;

use crate::{AskError, Cluster, Sight, shown, workload};

/// The workloads with pods that no policy isolates in a direction, as far as the asker may see them. Pods of a node's network
/// are none that policies apply to.
///
/// # Errors
/// If there is no such namespace, or the asker may not see it.
pub fn open(
    cluster: &Cluster<'_>,
    request: &v1::ListOpenRequest,
    sight: &Sight,
) -> Result<Vec<v1::OpenRow>, AskError> {
    let within = namespace(cluster, &request.namespace, sight)?;
    let judge = cluster.judge_of_many();
    let mut known: HashMap<(&NamespaceName, &Labels), [bool; 2]> = HashMap::new();
    let mut rows: BTreeMap<(&NamespaceName, String), (v1::OpenRow, &Arc<Pod>)> = BTreeMap::new();
    let all: Box<dyn Iterator<Item = &Arc<Pod>>> = match &within {
        Some(namespace) => Box::new(cluster.world.pods_of(namespace)),
        None => Box::new(cluster.world.pods().values().filter(|pod| sight.sees(&pod.key.namespace))),
    };
    // Pods that have finished own no address any more: nothing reaches them.
    for pod in all.filter(|pod| !pod.is_of_host_network() && pod.lifecycle != Lifecycle::Finished) {
        // Policies tell pods of a namespace apart by their labels alone, so pods with the same ones are judged once.
        let is_open = known.entry((&pod.key.namespace, &pod.labels)).or_insert_with(|| {
            Direction::ALL.map(|direction| judge.isolating(direction, pod).next().is_none())
        });
        // A workload is `KIND/NAME`, so no pod has the name of one.
        let name = workload(pod).unwrap_or_else(|| pod.key.name.to_string());
        let (row, _) =
            rows.entry((&pod.key.namespace, name)).or_insert_with(|| (v1::OpenRow::default(), pod));
        row.pods += 1;
        for (direction, is_open) in Direction::ALL.into_iter().zip(*is_open) {
            // By pod, and no part of what is kept by labels. A pod over budget is closed even where no policy selects
            // it.
            let is_closed = cluster.over_budget.is_some_and(|pods| pods.contains(&pod.key, direction));
            let count = match direction {
                Direction::Ingress => &mut row.open_ingress,
                Direction::Egress => &mut row.open_egress,
            };
            *count += u32::from(is_open && !is_closed);
        }
    }
    let rows = rows.into_iter().filter(|(_, (row, _))| row.open_ingress + row.open_egress > 0);
    Ok(rows.map(|((namespace, name), (row, pod))| named(row, namespace, &name, pod, sight)).collect())
}

fn named(
    mut row: v1::OpenRow,
    namespace: &NamespaceName,
    name: &str,
    pod: &Arc<Pod>,
    sight: &Sight,
) -> v1::OpenRow {
    row.workload = Some(match workload(pod) {
        Some(workload) => v1::ShownEnd {
            name: format!("{namespace}/{name}"),
            namespace: Some(namespace.to_string()),
            workload: Some(workload),
            pods: row.pods,
            ..v1::ShownEnd::default()
        },
        None => {
            // It is shown and never judged, so that nobody has to be asked who else claims the address.
            let place = flock_compiler_core::judge::Place {
                address: pod.addresses().and_then(|all| all.first().copied()),
                owners: vec![Arc::clone(pod)],
                host: None,
            };
            shown(&place, Some(pod), sight)
        }
    });
    row
}

/// The namespace that is asked about; `None`: all.
pub(crate) fn namespace(
    cluster: &Cluster<'_>,
    asked: &str,
    sight: &Sight,
) -> Result<Option<NamespaceName>, AskError> {
    if asked.is_empty() {
        return Ok(None);
    }
    let namespace =
        NamespaceName::new(asked).map_err(|error| AskError::Bad(format!("namespace: {error}")))?;
    // Before it is looked up: who may not see a namespace is not told whether it is there.
    if !sight.sees(&namespace) {
        return Err(AskError::NotAllowed(format!("you may see no explanations of namespace {namespace}")));
    }
    match cluster.has_namespace(&namespace) {
        true => Ok(Some(namespace)),
        false => Err(AskError::NotFound(format!("no namespace {asked:?}"))),
    }
}
