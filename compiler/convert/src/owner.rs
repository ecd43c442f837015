//! Which workload a pod belongs to, as its own metadata say. No rule depends on it, so what is not understood is no fault.

use std::sync::Arc;

use flock_compiler_core::Labels;
use flock_compiler_core::object::{Owner, Workload, WorkloadKind};
use flock_shared::ObjectName;

use super::field::Field;

/// What a Deployment adds to the name of each of its ReplicaSets, which is also a label of their pods.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// The workload of a pod with these labels. A ReplicaSet that is named after the pods' template is a Deployment's.
pub(super) fn owner(root: &Field<'_>, labels: &Labels) -> Owner {
    let workload = controller(root).map(|workload| match workload.kind {
        WorkloadKind::ReplicaSet => deployment_of(&workload.name, labels).unwrap_or(workload),
        _ => workload,
    });
    workload.map_or(Owner::Nobody, |workload| Owner::Workload(Arc::new(workload)))
}

/// The workload that controls an object, if it is of a known kind.
pub(super) fn controller(root: &Field<'_>) -> Option<Workload> {
    let metadata = root.get("metadata")?;
    let references = metadata.get("ownerReferences")?;
    let found = references.as_items().iter().find(|reference| {
        // Others own for garbage collection alone; the API lets one at most control.
        let controller = reference.get("controller");
        controller.and_then(serde_json::Value::as_bool) == Some(true)
    })?;
    let text = |key| found.get(key).and_then(serde_json::Value::as_str);
    // Without a slash it is of the core group, none of whose kinds is a known workload.
    let (group, _) = text("apiVersion")?.split_once('/')?;
    let kind = WorkloadKind::of_object(group, text("kind")?)?;
    Some(Workload { kind, name: ObjectName::new(text("name")?).ok()? })
}

fn deployment_of(replica_set: &ObjectName, labels: &Labels) -> Option<Workload> {
    let hash = labels.get(TEMPLATE_HASH).filter(|hash| !hash.is_empty())?;
    let name = replica_set.as_str().strip_suffix(hash)?.strip_suffix('-')?;
    Some(Workload { kind: WorkloadKind::Deployment, name: ObjectName::new(name).ok()? })
}
