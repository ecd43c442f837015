//! From the world to one Output per node.
//!
//! Policies are grouped by the selector of their subjects and pods by the selectors that match them, so pods with
//! the same rules share one rule set however many policies say it.

mod budget;
mod build;
mod draft;
mod group;
mod identify;
mod index;

use std::collections::BTreeMap;
use std::net::IpAddr;

use flock_shared::NodeName;

use self::group::{Groups, Isolations};
use self::index::{Index, Owner};
use crate::identity::{ShortHash, fnv1a};
use crate::object::{Direction, HostInterface, Pod, PodNetwork};
use crate::output::{Families, Isolation, Output, Subject};
use crate::problem::Problem;
use crate::world::World;

/// The outputs of all nodes of a world.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translation {
    families: Families,
    nodes: BTreeMap<NodeName, Output>,
    problems: Vec<Problem>,
}

impl Translation {
    /// The output of `node`; of a node that the world does not know: nothing is isolated.
    #[must_use]
    pub fn output(&self, node: &NodeName) -> Output {
        self.nodes
            .get(node)
            .cloned()
            .unwrap_or_else(|| Output { families: self.families, ..Output::empty(node.clone()) })
    }

    /// Policies that translation had to take for isolating although each field is understood.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Every node of the world and its output, by name.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeMap<NodeName, Output> {
        &self.nodes
    }

    /// What is known without any node: enough to answer for nodes that the world does not know.
    #[must_use]
    pub fn nowhere(&self) -> Self {
        Self { families: self.families, ..Self::default() }
    }
}

/// Translates a world.
#[must_use]
pub fn translate(world: &World) -> Translation {
    translate_with(world, fnv1a)
}

/// Translates a world with another short hash for names, so that a test can make them collide.
#[must_use]
pub fn translate_with(world: &World, hash: ShortHash) -> Translation {
    let index = Index::of(world);
    let groups = Groups::of(world, &index);
    let (isolations, problems) = groups.isolations(&index, hash);
    let families = index.families();
    let mut nodes: BTreeMap<NodeName, Output> = world
        .node_names()
        .into_iter()
        .map(|node| (node.clone(), Output { families, ..Output::empty(node.clone()) }))
        .collect();
    // Interfaces of pods that have reported addresses: also one that has yielded all of them, so that nothing that
    // comes from there is its own. Before the first report a source cannot be judged.
    for pod in world.pods().values() {
        if let (Some(interface), Some(output)) =
            (interface_of(pod), pod.node.as_ref().and_then(|n| nodes.get_mut(n)))
        {
            output.anchors.entry(interface.clone()).or_default();
        }
    }
    for owner in index.owners() {
        if let Some(output) = owner.pod.node.as_ref().and_then(|node| nodes.get_mut(node)) {
            place(output, owner, &index, &isolations);
        }
    }
    Translation { families, nodes, problems }
}

/// Adds a local pod to its node's output.
fn place(output: &mut Output, owner: &Owner<'_>, index: &Index<'_>, isolations: &Isolations) {
    let mut isolated = false;
    for address in owner.all_addresses() {
        let alone = [owner.pod];
        let owners: &[&Pod] = index.contested().get(&address).map_or(&alone, Vec::as_slice);
        let [ingress, egress] =
            [Direction::Ingress, Direction::Egress].map(|direction| isolations.of(direction, owners));
        if ingress == Isolation::Open && egress == Isolation::Open {
            continue;
        }
        isolated = true;
        let pods = owners.iter().map(|pod| pod.key.clone()).collect();
        output.subjects.insert(address, Subject { pods, ingress, egress });
    }
    if isolated {
        output.hairpins.extend(hairpins(owner));
    }
    if let Some(anchored) = interface_of(owner.pod).and_then(|interface| output.anchors.get_mut(interface)) {
        anchored.extend(owner.all_addresses());
    }
}

/// The host interface of a pod that still has one, where it is known.
fn interface_of(pod: &Pod) -> Option<&HostInterface> {
    pod.addresses().filter(|addresses| !addresses.is_empty())?;
    match &pod.network {
        PodNetwork::Own { interface, .. } => interface.as_ref(),
        PodNetwork::Host => None,
    }
}

/// A pod with more addresses of a family than this always reaches itself at one address only, not across them:
/// the pairs grow with the square, and the API knows of at most one address per family today.
const CROSS_PAIRS_LIMIT: usize = 64;

/// The pairs of a pod's addresses between which it talks to itself.
fn hairpins(owner: &Owner<'_>) -> Vec<(IpAddr, IpAddr)> {
    let mut pairs: Vec<(IpAddr, IpAddr)> = owner.all_addresses().map(|address| (address, address)).collect();
    for v4 in [true, false] {
        let family: Vec<IpAddr> = owner.addresses.iter().copied().filter(|a| a.is_ipv4() == v4).collect();
        if family.len() <= CROSS_PAIRS_LIMIT {
            pairs.extend(
                family.iter().flat_map(|a| family.iter().filter(move |b| a != *b).map(move |b| (*a, *b))),
            );
        }
    }
    pairs
}
