//! `flock.netpol/v1alpha1.NodePods`: what CNI did on one node, as compilers write it.
//!
//! ```yaml
//! apiVersion: flock.netpol/v1alpha1
//! kind: NodePods
//! metadata: {name: worker-1}
//! spec:
//!   sandboxes:
//!   - {id: 3fa9…, namespace: shop, name: web-0, uid: 0b1c…, addresses: [10.244.1.7], interface: veth1a2b3c4d}
//!   - {id: 77d1…, namespace: shop, name: web-0, uid: 0b1c…, detached: true}
//! ```
//!
//! Compilers alone may write it, yet a sandbox that is not understood is left out and reported: its pod's status counts
//! then, and an address that nobody owns is guarded.

use std::net::IpAddr;

use flock_compiler_core::object::{Attachment, InterfaceName, NodePods, PodUid, Sandbox, is_assignable};
use flock_compiler_core::sorted::Sorted;
use flock_shared::{NamespaceName, NodeName, ObjectKey, ObjectName};
use serde_json::Value;

use super::address;
use super::field::{Faults, Field};
use super::{ConvertError, Converter, metadata, usable};

/// Sandboxes of one node. A kubelet runs 110 pods by default and 250 in the largest clusters, and each may have left one
/// behind.
pub const MOST_SANDBOXES: usize = 1024;

/// Addresses of one sandbox.
pub const MOST_ADDRESSES: usize = 16;

impl Converter {
    /// Converts what CNI did on a node.
    ///
    /// # Errors
    /// If it names no node.
    pub fn node_pods(&self, value: &Value) -> Result<NodePods, ConvertError> {
        let (mut fatal, mut left_out) = (self.faults(), self.faults());
        let root = Field::root(value);
        let name = metadata::name(&root, &mut fatal, NodeName::new);
        let sandboxes = sandboxes(&root, &mut left_out);
        let object = name.map(|name| NodePods::new(name, sandboxes, left_out.into_vec()));
        usable("NodePods", value, object, fatal)
    }
}

fn sandboxes(root: &Field<'_>, left_out: &mut Faults) -> Vec<Sandbox> {
    let mut found = Vec::new();
    let Some(spec) = root.get("spec").filter(|spec| spec.object(left_out).is_some()) else { return found };
    let Some(listed) = spec.get("sandboxes") else { return found };
    for item in listed.items(left_out) {
        if found.len() == MOST_SANDBOXES {
            left_out.at(&item, format!("is too much; a node has at most {MOST_SANDBOXES} sandboxes"));
            break;
        }
        found.extend(sandbox(&item, left_out));
    }
    found
}

fn sandbox(item: &Field<'_>, left_out: &mut Faults) -> Option<Sandbox> {
    let known = ["id", "namespace", "name", "uid", "addresses", "interface", "detached"];
    let before = left_out.count();
    item.only(&known, left_out);
    let pod = ObjectKey {
        namespace: required(item, "namespace", "a namespace", left_out, NamespaceName::new)?,
        name: required(item, "name", "the name of a pod", left_out, ObjectName::new)?,
    };
    let uid = required(item, "uid", "the UID of a pod", left_out, PodUid::new)?;
    let detached = item.get("detached").and_then(|field| field.flag(left_out)).unwrap_or(false);
    let attachment = if detached {
        Attachment::Detached
    } else {
        let interface = item.get("interface");
        let interface =
            interface.and_then(|field| field.parsed(left_out, |text| text.parse::<InterfaceName>()));
        Attachment::Attached { addresses: addresses(item, left_out), interface }
    };
    // What a later version says of a sandbox may narrow it.
    (left_out.count() == before).then_some(Sandbox { pod, uid, attachment })
}

fn required<T, E: std::fmt::Display>(
    item: &Field<'_>,
    key: &str,
    expected: &str,
    left_out: &mut Faults,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let Some(field) = item.get(key) else {
        left_out.missing(item, key, expected);
        return None;
    };
    field.parsed(left_out, parse)
}

fn addresses(item: &Field<'_>, left_out: &mut Faults) -> Sorted<IpAddr> {
    let Some(listed) = item.get("addresses") else { return Sorted::new() };
    let mut found = Vec::new();
    for item in listed.items(left_out) {
        if found.len() == MOST_ADDRESSES {
            left_out.at(&item, format!("is too much; a pod has at most {MOST_ADDRESSES} addresses"));
            break;
        }
        let assignable = |text: &str| {
            // Agents tell it to compilers: an address of the node itself or of a group must not become a pod's.
            let address = address::ip(text)?;
            let message = || format!("{address} is no address that a pod can have");
            if is_assignable(address) { Ok(address) } else { Err(message()) }
        };
        found.extend(item.parsed(left_out, assignable));
    }
    found.into_iter().collect()
}
