//! `policies`: what objects tell of policies: the pods that they select, the nodes of those, and their rules.

use std::collections::{BTreeSet, HashMap};

use flock_compiler_core::Labels;
use flock_compiler_core::object::{Direction, Lifecycle, Policy};
use flock_proto::v1;
use flock_shared::{NamespaceName, NodeName};

use crate::cite::{Meta, meta};
use crate::open::namespace;
use crate::{AskError, Cluster, Sight};

/// Pods of one namespace with the same labels.
#[derive(Default)]
struct Alike<'w> {
    pods: usize,
    nodes: BTreeSet<&'w NodeName>,
}

/// The policies that the asker may see, by name. Where they are in force, what they drop and what is to be noted of them,
/// objects do not tell.
///
/// # Errors
/// If there is no such namespace or policy, or the asker may not see it.
pub fn policies(
    cluster: &Cluster<'_>,
    request: &v1::ListPoliciesRequest,
    sight: &Sight,
) -> Result<Vec<v1::PolicyRow>, AskError> {
    let within = namespace(cluster, &request.namespace, sight)?;
    let mut rows = Vec::new();
    // Policies are in order of namespaces, so only the pods of the last one are kept.
    let mut last: Option<(&NamespaceName, HashMap<&Labels, Alike<'_>>)> = None;
    for policy in cluster.world.policies().values() {
        let key = &policy.key;
        let is_asked = within.as_ref().is_none_or(|within| *within == key.namespace)
            && (request.name.is_empty() || key.name.as_str() == request.name)
            && sight.sees(&key.namespace);
        if !is_asked {
            continue;
        }
        let kinds = match last.take() {
            Some((known, kinds)) if *known == key.namespace => kinds,
            _ => kinds(cluster, &key.namespace),
        };
        rows.push(row(policy, &kinds));
        last = Some((&key.namespace, kinds));
    }
    if rows.is_empty() && !request.name.is_empty() {
        // The same for a policy that may not be seen, which is left out above: it is not told whether it is there.
        return Err(AskError::NotFound(format!("no NetworkPolicy {:?}", request.name)));
    }
    Ok(rows)
}

fn kinds<'w>(cluster: &Cluster<'w>, namespace: &'w NamespaceName) -> HashMap<&'w Labels, Alike<'w>> {
    let mut kinds: HashMap<&Labels, Alike<'_>> = HashMap::new();
    let pods = cluster.world.pods_of(namespace);
    for pod in pods.filter(|pod| !pod.is_of_host_network() && pod.lifecycle != Lifecycle::Finished) {
        // Selectors see labels alone, and far fewer sets of labels than pods are matched against each policy.
        let alike = kinds.entry(&pod.labels).or_default();
        alike.pods += 1;
        alike.nodes.extend(pod.node.as_ref());
    }
    kinds
}

fn row(policy: &Policy, kinds: &HashMap<&Labels, Alike<'_>>) -> v1::PolicyRow {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let matching =
        kinds.iter().filter(|(labels, _)| policy.pod_selector.matches(labels)).map(|(_, alike)| alike);
    let matching: Vec<&Alike<'_>> = matching.collect();
    let nodes = match &*matching {
        // Nothing to be merged: pods with different labels may share nodes, those of one kind are counted already.
        [only] => only.nodes.len(),
        all => all.iter().flat_map(|alike| &alike.nodes).collect::<BTreeSet<_>>().len(),
    };
    let rules = |direction| policy.rules(direction).map(|rules| number(rules.len()));
    let Meta { uid, resource_version } = meta(policy);
    v1::PolicyRow {
        namespace: policy.key.namespace.to_string(),
        name: policy.key.name.to_string(),
        uid,
        resource_version,
        pods: number(matching.iter().map(|alike| alike.pods).sum()),
        nodes: number(nodes),
        ingress_rules: rules(Direction::Ingress),
        egress_rules: rules(Direction::Egress),
        understood: policy.faults().is_empty(),
        ..v1::PolicyRow::default()
    }
}
