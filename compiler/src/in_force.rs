//! Where what a policy asks for is in force, as far as this replica knows. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use flock_compiler_core::World;
use flock_compiler_core::object::{Pod, Policy};
use flock_shared::NodeName;

use crate::engine::Sequence;
use crate::fleet::NodeAcks;
use crate::mirror::Mirrored;

/// Since when a node has what a policy asks for that `changed` last: a state of the pass that knows it, or a later one, or the
/// newest of all.
pub(crate) fn since(
    acks: &NodeAcks,
    changed: Sequence,
    node: &NodeName,
    mirrored: &Mirrored,
) -> Option<SystemTime> {
    let standing = acks.standing()?;
    // A node that took no other table holds its pods closed, which is not what the policy says.
    if standing.state.is_closed() {
        return None;
    }
    let is_newest = || {
        let desired = mirrored.outputs.get(node);
        desired.is_some_and(|desired| desired.revision() == standing.state.revision())
    };
    acks.had(changed).or_else(|| is_newest().then_some(standing.since))
}

/// The nodes of the pods that a policy selects.
pub(crate) fn nodes_of(policy: &Policy, world: &World) -> BTreeSet<NodeName> {
    selected(policy, world).filter_map(|pod| pod.node.clone()).collect()
}

/// The pods that a policy selects.
fn selected<'a>(policy: &'a Policy, world: &'a World) -> impl Iterator<Item = &'a Arc<Pod>> {
    let selects = |pod: &&Arc<Pod>| {
        !pod.is_of_host_network() && pod.addresses().is_some() && policy.pod_selector.matches(&pod.labels)
    };
    world.pods_of(&policy.key.namespace).filter(selects)
}
