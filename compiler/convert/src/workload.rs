//! Workloads: what their template says of the pods that they make.
//!
//! Where there is no cluster, a workload stands for its pods: one pod with the template's labels and ports, on no node and
//! without an address.

use std::sync::Arc;

use flock_compiler_core::object::{Owner, Pod, PodNetwork, Untranslated, Workload, WorkloadKind};
use flock_shared::{ObjectName, PodKey};
use serde_json::Value;

use super::field::{Faults, Field};
use super::owner::controller;
use super::pod::{host_network, named_ports};
use super::{ConvertError, Converter, metadata, usable};

/// What becomes of workloads and Services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Workloads {
    /// They are none of a compiler's business, which sees their pods.
    #[default]
    Ignored,
    /// A workload stands for its pods, unless they are there themselves; Services are kept.
    StandForPods,
}

/// A pod that stands for those of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    /// The pod. Its name is made up of the workload's kind and name (`deploy.api`).
    pub pod: Pod,
    /// What it stands for.
    pub workload: Arc<Workload>,
    /// The workload that controls this one: the Deployment of a ReplicaSet, the CronJob of a Job.
    pub controller: Option<Workload>,
    /// Whether it makes no pods any more: a Job that has ended, a Deployment's ReplicaSet of no replicas.
    pub is_past: bool,
}

impl Converter {
    /// Converts a workload to what stands for its pods.
    ///
    /// # Errors
    /// If its name, or its template's labels or use of the host's network cannot be understood.
    pub fn workload(&self, kind: WorkloadKind, value: &Value) -> Result<StandIn, ConvertError> {
        let (mut fatal, mut left_out) = (self.faults(), self.faults());
        let root = Field::root(value);
        let named = metadata::key(&root, &mut fatal);
        let key = named.as_ref().and_then(|named| {
            let name = format!("{kind}.{}", named.name);
            let name = ObjectName::new(&name).map_err(|_| too_long(&root, &mut fatal)).ok()?;
            Some(PodKey { namespace: named.namespace.clone(), name })
        });
        // No other kinds control one another, so nobody can have workloads vanish behind each other in a circle.
        let controller = controller(&root).filter(|by| {
            let kinds = (kind, by.kind);
            matches!(
                kinds,
                (WorkloadKind::ReplicaSet, WorkloadKind::Deployment)
                    | (WorkloadKind::Job, WorkloadKind::CronJob)
            )
        });
        let is_past = is_past(kind, controller.is_some(), value);
        let read = |template: &Field<'_>, fatal: &mut Faults| {
            let labels = metadata::labels(template, fatal);
            let spec = template.get("spec").filter(|spec| spec.object(fatal).is_some());
            let host_network = host_network(spec.as_ref(), fatal);
            let mut pod = Pod { labels, ..Pod::new(key?) };
            if host_network {
                pod.network = PodNetwork::Host;
            } else {
                pod.ports = named_ports(spec.as_ref(), &mut left_out);
            }
            Some(pod)
        };
        let pod = at(&root, template(kind), &mut fatal, read).flatten();
        let stand_in = pod.zip(named).map(|(mut pod, named)| {
            let workload = Arc::new(Workload { kind, name: named.name });
            pod.owner = Untranslated(Owner::StandsFor(Arc::clone(&workload)));
            pod.faults = left_out.into_vec();
            StandIn { pod, workload, controller, is_past }
        });
        usable(kind.kind(), value, stand_in, fatal)
    }
}

/// Where the template of the pods is.
const fn template(kind: WorkloadKind) -> &'static [&'static str] {
    match kind {
        WorkloadKind::CronJob => &["spec", "jobTemplate", "spec", "template"],
        _ => &["spec", "template"],
    }
}

/// Reads the field at a path.
fn at<T>(
    field: &Field<'_>,
    path: &[&str],
    fatal: &mut Faults,
    read: impl FnOnce(&Field<'_>, &mut Faults) -> T,
) -> Option<T> {
    let Some((key, rest)) = path.split_first() else { return Some(read(field, fatal)) };
    let Some(inner) = field.get(key) else {
        fatal.missing(field, key, "what its pods are made of");
        return None;
    };
    inner.object(fatal)?;
    at(&inner, rest, fatal, read)
}

/// The API server would take such a name, but no pod with it.
fn too_long(root: &Field<'_>, fatal: &mut Faults) {
    if let Some(metadata) = root.get("metadata")
        && let Some(name) = metadata.get("name")
    {
        fatal.at(&name, "is too long for the name of a pod to be made of it");
    }
}

/// Old revisions and what has ended are kept by the API server for people to look at.
fn is_past(kind: WorkloadKind, is_controlled: bool, value: &Value) -> bool {
    match kind {
        WorkloadKind::ReplicaSet => {
            // On its own it is no old revision: somebody has scaled it down, and may scale it up again.
            is_controlled && value.pointer("/spec/replicas").and_then(Value::as_u64) == Some(0)
        }
        WorkloadKind::Job => {
            let conditions = value.pointer("/status/conditions").and_then(Value::as_array);
            let has_ended = |condition: &Value| {
                let text = |key| condition.get(key).and_then(Value::as_str);
                matches!(text("type"), Some("Complete" | "Failed")) && text("status") == Some("True")
            };
            conditions.is_some_and(|conditions| conditions.iter().any(has_ended))
        }
        _ => false,
    }
}
