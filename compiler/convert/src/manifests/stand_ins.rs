//! Which workloads stand for their pods: those whose pods are not there themselves, each once.
//!
//! A listing of a cluster has a Deployment, its ReplicaSets of today and before, and their pods. Pods tell their owner by
//! themselves; what controls that owner, its object tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use flock_compiler_core::Labels;
use flock_compiler_core::object::{Pod, Workload, WorkloadKind};
use flock_shared::{NamespaceName, ObjectName, PodKey};

use crate::StandIn;

/// A workload by namespace.
type WorkloadKey = (NamespaceName, Workload);

/// Of stand-ins with their origins those that are needed beside these pods.
pub(super) fn needed<'a>(
    pods: &BTreeMap<PodKey, Pod>,
    stand_ins: &[(&'a Arc<str>, &'a StandIn)],
) -> Vec<(&'a Arc<str>, &'a StandIn)> {
    let known = Known::of(pods, stand_ins);
    stand_ins.iter().copied().filter(|(_, it)| known.needs(it)).collect()
}

/// What there is of workloads.
struct Known<'a> {
    /// Those that have an object, and what controls them.
    controllers: BTreeMap<WorkloadKey, Option<&'a Workload>>,
    /// The labels of their pods; also of those that pods name alone.
    pods: BTreeMap<WorkloadKey, Vec<&'a Labels>>,
}

impl<'a> Known<'a> {
    fn of(pods: &'a BTreeMap<PodKey, Pod>, stand_ins: &[(&'a Arc<str>, &'a StandIn)]) -> Self {
        let controllers = stand_ins.iter().map(|(_, it)| (key_of(it), it.controller.as_ref())).collect();
        let mut known = Self { controllers, pods: BTreeMap::new() };
        for pod in pods.values() {
            let mut next = pod.workload().map(|owner| Workload::clone(owner));
            // Ends, for no kind leads back to itself.
            while let Some(workload) = next {
                let key = (pod.key.namespace.clone(), workload);
                let told = known.controllers.get(&key).copied().flatten().cloned();
                next = told.or_else(|| cron_job_of(&key.1));
                known.pods.entry(key).or_default().push(&pod.labels);
            }
        }
        known
    }

    fn needs(&self, stand_in: &StandIn) -> bool {
        let has_pods = |key: &WorkloadKey| {
            // Only pods of this template count: those of another one are shown, and the workload beside them.
            let pods = self.pods.get(key);
            pods.is_some_and(|pods| pods.iter().any(|pod| has_all(pod, &stand_in.pod.labels)))
        };
        let own = key_of(stand_in);
        let controller = stand_in.controller.clone().map(|controller| (own.0.clone(), controller));
        let is_told_by = |key: &WorkloadKey| self.controllers.contains_key(key) || has_pods(key);
        !stand_in.is_past && !controller.as_ref().is_some_and(is_told_by) && !has_pods(&own)
    }
}

fn key_of(stand_in: &StandIn) -> WorkloadKey {
    (stand_in.pod.key.namespace.clone(), Workload::clone(&stand_in.workload))
}

/// The CronJob that a Job may be of, by the time in its name.
fn cron_job_of(job: &Workload) -> Option<Workload> {
    let (name, time) = job.name.as_str().rsplit_once('-').filter(|_| job.kind == WorkloadKind::Job)?;
    let is_time = !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit());
    let name = ObjectName::new(name).ok().filter(|_| is_time)?;
    Some(Workload { kind: WorkloadKind::CronJob, name })
}

/// Returns true if a pod has all labels of a template: controllers add their own.
fn has_all(pod: &Labels, template: &Labels) -> bool {
    template.iter().all(|(key, value)| pod.get(key) == Some(value))
}
