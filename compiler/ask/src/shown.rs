//! How ends are named in answers.

use std::sync::Arc;

use flock_compiler_core::judge::Place;
use flock_compiler_core::object::Pod;
use flock_proto::v1;

use crate::{Sight, workload};

/// NAMESPACE/POD; NAMESPACE/KIND/NAME of a pod that stands for its workload.
#[must_use]
pub fn pod_name(pod: &Pod) -> String {
    pod.title().to_string()
}

/// The name of pods that agree, of a workload or Service of which others differ; `example` is one of them.
pub(crate) fn some_of(name: &str, count: usize, total: usize, what: &str, example: Option<&str>) -> String {
    let example = example.map(|pod| format!(", such as {pod}")).unwrap_or_default();
    format!("{name} ({count} of {total} {what}{example})")
}

/// A place as it is shown. `pod` is who was asked about, by name, which is told again; whoever else owns the address is
/// named only to who may see it. Of what an asker may not see there are no address, no node and no workload.
#[must_use]
pub fn shown(place: &Place, pod: Option<&Arc<Pod>>, sight: &Sight) -> v1::ShownEnd {
    let mut shown = v1::ShownEnd { pods: 1, ..v1::ShownEnd::default() };
    let address = || place.address.map(|address| address.to_string());
    // Of several owners the first stands for all; that there are several is for the verdict to say.
    match pod.or_else(|| place.owners.first()) {
        Some(owner) => {
            let is_seen = sight.sees(&owner.key.namespace);
            shown.namespace = Some(owner.key.namespace.to_string());
            if is_seen || pod.is_some() {
                shown.name = pod_name(owner);
                // What stands for a workload is no object that could be looked up by this name.
                shown.pod = (!owner.stands_for_others()).then(|| owner.key.name.to_string());
            } else {
                shown.name = format!("a pod of namespace {}", owner.key.namespace);
            }
            if is_seen {
                shown.workload = workload(owner);
                shown.node = owner.node.as_ref().map(ToString::to_string);
            }
            // An address that was asked about is told again.
            if is_seen || pod.is_none() {
                shown.address = address();
            }
        }
        None => {
            // That an address is a node's tells something of nodes: to others it stays an address.
            let host = place.host.as_ref().filter(|_| sight.sees_everything());
            shown.pods = 0;
            shown.address = address();
            shown.node = host.map(ToString::to_string);
            shown.name = match (host, address()) {
                (Some(node), _) => format!("node/{node}"),
                (None, Some(address)) => address,
                (None, None) => "internet".to_owned(),
            };
        }
    }
    shown
}
