//! The cluster of the bench: S3 with a label on 1,000 exporters, and whom questions are about.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use flock_compiler_core::object::Pod;
use flock_compiler_core::{Change, Edit};
use flock_shapes::{EventKind, Events, Reach, Shape};
use flock_shared::NodeName;

/// Pods that a preview changes.
const MARKED: usize = 1000;
/// The label on them.
pub(crate) const MARK: (&str, &str) = ("canary", "yes");

/// The cluster.
pub(crate) struct Cluster {
    pub(crate) objects: flock_shapes::Cluster,
    pub(crate) events: Events,
    /// Nodes that have agents.
    pub(crate) served: BTreeSet<NodeName>,
    /// Those of them whose tables name the pods of all namespaces, and change whenever a pod comes or goes.
    pub(crate) of_dns: BTreeSet<NodeName>,
    /// Pods of the DNS servers.
    pub(crate) dns: Vec<Pod>,
    /// Pods of the other nodes that have agents.
    pub(crate) pods: Vec<Pod>,
    /// A pod that comes to a node that has an agent, and what takes it away.
    pub(crate) newcomer: (Pod, Change, Change),
    /// How many pods are marked.
    pub(crate) marked: usize,
}

impl Cluster {
    /// S3, so many times smaller, with agents on so many nodes.
    pub(crate) fn new(divisor: usize, agents: usize) -> anyhow::Result<Self> {
        let mut objects = Shape::S3.scaled(divisor);
        let mut marked = 0;
        for pod in
            objects.pods.iter_mut().filter(|pod| pod.key.namespace.as_str() == "telemetry").take(MARKED)
        {
            pod.labels = pod.labels.iter().chain([MARK]).collect();
            marked += 1;
        }
        ensure!(marked > 0, "S3 has exporters");
        let events = Events::of(&objects);
        let event = events.event(EventKind::PodAdded, Reach::Few, 0).context("S3 has databases")?;
        let Change::Pod(Edit::Upsert(added)) = &event.change else { anyhow::bail!("a pod is added") };
        let added = added.clone();

        let dns: Vec<Pod> =
            objects.pods.iter().filter(|pod| pod.key.namespace.as_str() == "dns").cloned().collect();
        let of_dns: BTreeSet<NodeName> = dns.iter().filter_map(|pod| pod.node.clone()).collect();
        ensure!(!of_dns.is_empty(), "S3 has DNS servers");
        let step = (objects.nodes.len() / agents).max(1);
        let some = objects.nodes.iter().step_by(step).map(|node| node.name.clone()).take(agents);
        let mut served: BTreeSet<NodeName> = some.chain(of_dns.iter().cloned()).collect();
        served.extend(added.node.clone());
        let is_plain = |pod: &&Pod| {
            pod.node.as_ref().is_some_and(|node| served.contains(node) && !of_dns.contains(node))
        };
        let pods: Vec<Pod> = objects.pods.iter().filter(is_plain).cloned().collect();
        ensure!(pods.len() > 1, "S3 has pods on nodes that have agents");
        let newcomer = (added, event.change, event.undo);
        Ok(Self { objects, events, served, of_dns, dns, pods, newcomer, marked })
    }
}
