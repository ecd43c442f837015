//! What manifests of a question propose. They are read once the API server knows whose they are, and no other thread waits for
//! that.

use std::collections::BTreeSet;

use flock_ask::{AskError, Proposed};
use flock_convert::HostInterfaces;
use flock_convert::manifests::Manifests;
use flock_proto::v1;
use flock_shared::PolicyKey;

/// Faults that are told at once.
const TOLD: usize = 10;

/// Reads what is proposed.
pub(super) fn read(request: &v1::PreviewRequest) -> Result<Proposed, AskError> {
    let manifests = request.manifests.iter().map(|it| (it.origin.as_str(), &*it.content));
    let manifests = Manifests::from_bytes(manifests, &HostInterfaces::None.into());
    if !manifests.errors.is_empty() {
        let lines: Vec<String> = manifests.errors.iter().take(TOLD).map(ToString::to_string).collect();
        return Err(AskError::Bad(lines.join("\n")));
    }
    let delete = request.delete.iter().map(|name| {
        PolicyKey::new(&name.namespace, &name.name).map_err(|error| AskError::Bad(format!("delete: {error}")))
    });
    let deleted = delete.collect::<Result<Vec<_>, _>>()?;
    let objects = &manifests.objects;
    Ok(Proposed::of_manifests(
        objects.policies.values(),
        objects.namespaces.values(),
        deleted,
        manifests.origins.clone(),
    ))
}

/// The namespaces that something is proposed in, or for.
pub(super) fn namespaces(proposed: &Proposed) -> BTreeSet<&str> {
    let policies = proposed.policies.iter().map(|policy| &policy.key).chain(&proposed.deleted);
    let of_policies = policies.map(|key| key.namespace.as_str());
    of_policies.chain(proposed.namespaces.iter().map(|namespace| namespace.name.as_str())).collect()
}
