//! Workloads: what makes pods, and names many of them at once. No policy looks at it; people do.

use std::fmt;
use std::sync::Arc;

use flock_shared::ObjectName;

/// A workload of a namespace, such as `deploy/api`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// What it is.
    pub kind: WorkloadKind,
    /// `metadata.name`.
    pub name: ObjectName,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// The kinds of workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// `apps/v1.Deployment`
    Deployment,
    /// `apps/v1.StatefulSet`
    StatefulSet,
    /// `apps/v1.DaemonSet`
    DaemonSet,
    /// `apps/v1.ReplicaSet`
    ReplicaSet,
    /// `batch/v1.Job`
    Job,
    /// `batch/v1.CronJob`
    CronJob,
}

impl WorkloadKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::ReplicaSet, Self::Job, Self::CronJob];

    /// How `kubectl` abbreviates it: `deploy`, `sts`, `ds`, `rs`, `job`, `cronjob`.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Self::Deployment => "deploy",
            Self::StatefulSet => "sts",
            Self::DaemonSet => "ds",
            Self::ReplicaSet => "rs",
            Self::Job => "job",
            Self::CronJob => "cronjob",
        }
    }

    /// `kind`, as an object has it.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
        }
    }

    /// The API group that it is in.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::ReplicaSet => "apps",
            Self::Job | Self::CronJob => "batch",
        }
    }

    /// The kind with this abbreviation.
    #[must_use]
    pub fn of_short(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.short() == text)
    }

    /// The kind of an object of this API group and `kind`.
    #[must_use]
    pub fn of_object(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| (known.group(), known.kind()) == (group, kind))
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.short())
    }
}

/// What a pod is to a workload of its namespace. Pods of one share it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Owner {
    /// It is on its own, or belongs to something that is no known kind of workload.
    #[default]
    Nobody,
    /// It is one of the workload's pods.
    Workload(Arc<Workload>),
    /// It stands for all pods that the workload will have: made of its template, on no node, without an address.
    StandsFor(Arc<Workload>),
}

impl Owner {
    /// The workload.
    #[must_use]
    pub const fn workload(&self) -> Option<&Arc<Workload>> {
        match self {
            Self::Nobody => None,
            Self::Workload(workload) | Self::StandsFor(workload) => Some(workload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_their_abbreviations_and_by_group_and_kind() {
        for kind in WorkloadKind::ALL {
            assert_eq!(WorkloadKind::of_short(&kind.to_string()), Some(kind));
            assert_eq!(WorkloadKind::of_object(kind.group(), kind.kind()), Some(kind));
        }
        assert_eq!(WorkloadKind::of_short("deployment"), None);
        assert_eq!(WorkloadKind::of_object("apps.kruise.io", "StatefulSet"), None);
        let api = Workload { kind: WorkloadKind::Deployment, name: ObjectName::new("api").unwrap() };
        assert_eq!(api.to_string(), "deploy/api");
    }
}
