//! Receipts: what was enforced where, to be proven from the objects. Revisions are functions of the objects, of what agents
//! say of their nodes, and of options, so a receipt has what is not among the objects.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use flock_ask::{AskError, Sight};
use flock_compiler_core::World;
use flock_compiler_core::object::Overdue;
use flock_compiler_core::revision::LAYOUT_VERSION;
use flock_proto::v1;
use flock_shared::{NamespaceName, NodeName};
use prost::Message as _;

use crate::facts::to_hello;
use crate::fleet::Fleet;
use crate::mirror::Snapshot;
use crate::verify;

/// The receipt of all nodes, or of those that pods of a namespace are on.
pub(super) fn receipt(
    snapshot: &Snapshot,
    fleet: &Fleet,
    (interfaces, namespace): (&str, Option<&NamespaceName>),
    sight: &Sight,
) -> Result<v1::Receipt, AskError> {
    let world = &snapshot.mirrored.world;
    if let Some(namespace) = namespace.filter(|namespace| !world.has_namespace(namespace)) {
        return Err(AskError::NotFound(format!("no namespace {:?}", namespace.as_str())));
    }
    let on: Option<BTreeSet<&NodeName>> =
        namespace.map(|namespace| world.pods_of(namespace).filter_map(|pod| pod.node.as_ref()).collect());
    let mut overdue = overdue(world, sight);
    let outputs = snapshot.mirrored.outputs.iter();
    let nodes = outputs.filter(|(node, _)| on.as_ref().is_none_or(|on| on.contains(node)));
    let nodes = nodes.map(|(node, output)| {
        let acks = fleet.acks(node);
        let standing = acks.as_ref().and_then(|acks| acks.standing());
        let facts = world.facts().get(node);
        v1::NodeReceipt {
            node: node.to_string(),
            desired_revision: output.revision().to_string(),
            applied_revision: standing.map(|it| it.state.revision().to_string()),
            applied_since: standing.map(|it| it.since.into()),
            facts: facts
                .map(|facts| v1::Hello::from(to_hello(facts)).encode_to_vec())
                .unwrap_or_default()
                .into(),
            overdue: overdue.remove(node).unwrap_or_default(),
        }
    });
    let policies = world.policies().values();
    let policies = policies.filter(|policy| namespace.is_none_or(|it| policy.key.namespace == *it));
    let policies = policies.map(|policy| v1::PolicyReceipt {
        namespace: policy.key.namespace.to_string(),
        name: policy.key.name.to_string(),
        uid: policy.meta.uid.as_deref().map(ToOwned::to_owned),
        resource_version: policy.meta.resource_version.as_deref().map(ToOwned::to_owned),
    });
    Ok(v1::Receipt {
        time: Some(SystemTime::now().into()),
        compiler_version: env!("CARGO_PKG_VERSION").to_owned(),
        layout_version: LAYOUT_VERSION.into(),
        options: verify::options(&snapshot.options, interfaces).into_iter().collect(),
        nodes: nodes.collect(),
        policies: policies.collect(),
    })
}

/// Who is not waited for any more, by node, as far as the asker may see them.
fn overdue<'w>(world: &'w World, sight: &Sight) -> BTreeMap<&'w NodeName, Vec<v1::OverdueReceipt>> {
    let mut found: BTreeMap<&NodeName, Vec<v1::OverdueReceipt>> = BTreeMap::new();
    for overdue in world.overdue() {
        let (node, namespace, pod) = match overdue {
            Overdue::Pod(key) => {
                let node = world.pods().get(key).and_then(|pod| pod.node.as_ref());
                (node, &key.namespace, Some(key.name.to_string()))
            }
            Overdue::Namespace(node, namespace) => (Some(node), namespace, None),
        };
        if let Some(node) = node.filter(|_| sight.sees(namespace)) {
            found.entry(node).or_default().push(v1::OverdueReceipt { namespace: namespace.to_string(), pod });
        }
    }
    found
}
