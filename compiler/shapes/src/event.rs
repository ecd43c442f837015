//! Single events in S3: what happens in a cluster all the time, and how far each reaches.

use std::fmt;

use flock_compiler_core::object::{Direction, Namespace, Pod, Policy, Rule, RulePorts};
use flock_compiler_core::{Change, Edit, Labels};

use crate::Cluster;
use crate::parts::{self, tcp};

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A pod got its address.
    PodAdded,
    /// A pod is gone.
    PodDeleted,
    /// A pod's label `app` has another value.
    PodRelabelled,
    /// A label that policies ask for has another value on a namespace.
    NamespaceRelabelled,
    /// A policy allows the peers of its first rule one more port.
    PolicyChanged,
}

/// How many nodes' tables an event changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// 1 to 10.
    Few,
    /// All of them.
    All,
}

/// One event, and what takes it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happens.
    pub change: Change,
    /// Restores the cluster as it was before.
    pub undo: Change,
}

/// Makes the events of one cluster of shape S3.
///
/// Few nodes are reached through the tenants whose policy guards their database: pods of `app=db` there are subjects
/// on their own node and peers of nobody but the DNS servers. All are reached through `monitoring`, whose Prometheus
/// pods are the peers of the policy on every node's exporter, and through that policy.
#[derive(Debug, Clone)]
pub struct Events {
    few: Specimens,
    all: Specimens,
}

/// Objects that events happen to.
#[derive(Debug, Clone, Default)]
struct Specimens {
    pods: Vec<Pod>,
    namespaces: Vec<(Namespace, &'static str)>,
    policies: Vec<Policy>,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::PodAdded,
        Self::PodDeleted,
        Self::PodRelabelled,
        Self::NamespaceRelabelled,
        Self::PolicyChanged,
    ];
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PodAdded => "pod added",
            Self::PodDeleted => "pod deleted",
            Self::PodRelabelled => "pod relabelled",
            Self::NamespaceRelabelled => "namespace relabelled",
            Self::PolicyChanged => "policy changed",
        })
    }
}

impl Reach {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Few, Self::All];
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Few => "few nodes",
            Self::All => "all nodes",
        })
    }
}

impl Events {
    /// The events of a cluster of shape S3, whole or scaled. Of another shape there are none.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        let (mut few, mut all) = (Specimens::default(), Specimens::default());
        // Tenants in a team, by what their policy guards: the api of the fourth, the database of the fifth.
        let place = |namespace: &str| {
            let number: Option<usize> = namespace.strip_prefix("tenant-")?.parse().ok();
            number.map(|number| number % 10)
        };
        for pod in &cluster.pods {
            let namespace = pod.key.namespace.as_str();
            match pod.labels.get("app") {
                Some("db") if place(namespace) == Some(5) => few.pods.push(pod.clone()),
                Some("prometheus") if namespace == "monitoring" => all.pods.push(pod.clone()),
                _ => {}
            }
        }
        for namespace in &cluster.namespaces {
            let name = namespace.name.as_str();
            if place(name) == Some(4) {
                few.namespaces.push((namespace.clone(), "project"));
            } else if name == "monitoring" {
                all.namespaces.push((namespace.clone(), "purpose"));
            }
        }
        for policy in &cluster.policies {
            let namespace = policy.key.namespace.as_str();
            if place(namespace) == Some(5) {
                few.policies.push(policy.clone());
            } else if namespace == "telemetry" {
                all.policies.push(policy.clone());
            }
        }
        Self { few, all }
    }

    /// The event of a kind and reach with a number: numbers differ in the object it happens to as long as there are
    /// others, and in what it says. Made on the cluster as generated; `None` if the cluster holds no such object.
    #[must_use]
    pub fn event(&self, kind: EventKind, reach: Reach, number: usize) -> Option<Event> {
        let specimens = match reach {
            Reach::Few => &self.few,
            Reach::All => &self.all,
        };
        match kind {
            EventKind::PodAdded => {
                let like = turn(&specimens.pods, number)?;
                // Addresses from 10.128.0.0 on: no pod of the cluster has one.
                let address = parts::address((128 << 16) + number % (64 << 16));
                let ports: Vec<_> = like.ports.iter().cloned().collect();
                let name = format!("new-{number}");
                let mut pod =
                    parts::pod(&like.key.namespace, &name, None, like.labels.clone(), address, &ports);
                pod.node.clone_from(&like.node);
                let key = pod.key.clone();
                Some(Event { change: Change::Pod(Edit::Upsert(pod)), undo: Change::Pod(Edit::Delete(key)) })
            }
            EventKind::PodDeleted => {
                let pod = turn(&specimens.pods, number)?;
                let change = Change::Pod(Edit::Delete(pod.key.clone()));
                Some(Event { change, undo: Change::Pod(Edit::Upsert(pod.clone())) })
            }
            EventKind::PodRelabelled => {
                let pod = turn(&specimens.pods, number)?;
                let relabelled = Pod { labels: relabelled(&pod.labels, "app", number), ..pod.clone() };
                let undo = Change::Pod(Edit::Upsert(pod.clone()));
                Some(Event { change: Change::Pod(Edit::Upsert(relabelled)), undo })
            }
            EventKind::NamespaceRelabelled => {
                let (namespace, key) = turn(&specimens.namespaces, number)?;
                let labels = relabelled(&namespace.labels, key, number);
                let change = Change::Namespace(Edit::Upsert(Namespace { labels, ..namespace.clone() }));
                Some(Event { change, undo: Change::Namespace(Edit::Upsert(namespace.clone())) })
            }
            EventKind::PolicyChanged => {
                let policy = turn(&specimens.policies, number)?;
                let port = u16::try_from(20_000 + number % 10_000).unwrap_or(20_000);
                // The peers of its first rule may use another port.
                let first = policy.rules(Direction::Ingress)?.first()?;
                let more = Rule { ports: RulePorts::OneOf(vec![tcp(port)]), ..first.clone() };
                let changed = parts::with_rule(policy, Direction::Ingress, more);
                let undo = Change::Policy(Edit::Upsert(policy.clone()));
                Some(Event { change: Change::Policy(Edit::Upsert(changed)), undo })
            }
        }
    }
}

fn turn<T>(items: &[T], number: usize) -> Option<&T> {
    items.get(number.checked_rem(items.len())?)
}

/// The labels with another value for `key`.
fn relabelled(labels: &Labels, key: &str, number: usize) -> Labels {
    let pairs = labels.iter().map(|(found, value)| {
        let value = if found == key { format!("other-{number}") } else { value.to_owned() };
        (found.to_owned(), value)
    });
    pairs.collect()
}
