//! `v1.Node`.
//!
//! A node is one even if its pod CIDRs are not understood. Such a block is left out and reported: its pods are then open
//! until their addresses are known. An address of the node itself that is not understood is left out likewise.

use std::net::IpAddr;

use flock_compiler_core::object::{Node, PodCidr};
use flock_compiler_core::sorted::Sorted;
use flock_shared::NodeName;
use serde_json::Value;

use super::address;
use super::field::{Faults, Field};
use super::{ConvertError, Converter, metadata, usable};

/// A node has one block of each family, says the API; every block costs every packet a comparison.
const MOST_PER_FAMILY: usize = 4;

/// A node has one or two addresses of each family and kind. A kubelet writes its own status, and what it writes is in the
/// tables of other nodes.
const MOST_ADDRESSES: usize = 16;

impl Converter {
    /// Converts a node.
    ///
    /// # Errors
    /// If it has no valid name.
    pub fn node(&self, value: &Value) -> Result<Node, ConvertError> {
        let (mut fatal, mut left_out) = (self.faults(), self.faults());
        let root = Field::root(value);
        let name = metadata::name(&root, &mut fatal, NodeName::new);
        let pod_cidrs = pod_cidrs(&root, &mut left_out);
        let addresses = addresses(&root, &mut left_out);
        let node = name.map(|name| Node { name, pod_cidrs, addresses, faults: left_out.into_vec() });
        usable("Node", value, node, fatal)
    }
}

/// `spec.podCIDRs`; where there are none, `spec.podCIDR`, which is all that older versions know.
fn pod_cidrs(root: &Field<'_>, left_out: &mut Faults) -> Sorted<PodCidr> {
    let mut found = Vec::new();
    let Some(spec) = root.get("spec").filter(|spec| spec.object(left_out).is_some()) else {
        return Sorted::new();
    };
    // An empty list says no more than an absent one, and leaves the word to the single block.
    let listed = spec.get("podCIDRs").filter(|listed| !listed.is_empty_list());
    match (&listed, spec.get("podCIDR")) {
        (Some(listed), _) => {
            listed.items(left_out).for_each(|item| add(&item, &mut found, left_out));
        }
        (None, Some(one)) => add(&one, &mut found, left_out),
        (None, None) => {}
    }
    found.into_iter().collect()
}

/// Adds a block, unless it is none. An empty text is how some clients write that there is none yet.
fn add(field: &Field<'_>, found: &mut Vec<PodCidr>, left_out: &mut Faults) {
    if field.text(left_out).is_none_or(str::is_empty) {
        return;
    }
    let block = field.parsed(left_out, address::pod_cidr);
    // The same block again is no fault, and takes no other one's room.
    let Some(block) = block.filter(|block| !found.contains(block)) else { return };
    let is_v4 = |block: &PodCidr| block.first().is_ipv4();
    if found.iter().filter(|other| is_v4(other) == is_v4(&block)).count() == MOST_PER_FAMILY {
        left_out.at(field, format!("is too much; a node has at most {MOST_PER_FAMILY} blocks of a family"));
    } else {
        found.push(block);
    }
}

/// The addresses in `status.addresses`: those that are said to be one, and names that are.
fn addresses(root: &Field<'_>, left_out: &mut Faults) -> Sorted<IpAddr> {
    let mut found = Vec::new();
    let Some(status) = root.get("status").filter(|status| status.object(left_out).is_some()) else {
        return Sorted::new();
    };
    let Some(listed) = status.get("addresses") else { return Sorted::new() };
    for item in listed.items(left_out) {
        let (kind, Some(text)) = (item.get("type"), item.get("address")) else { continue };
        let is_address = kind.and_then(|kind| kind.text(left_out)).is_some_and(|kind| kind.ends_with("IP"));
        let address = if is_address {
            text.parsed(left_out, address::ip)
        } else {
            // A node may be called by its address, and that most names are none is no fault.
            text.text(left_out).and_then(|text| address::ip(text).ok())
        };
        let Some(address) = address.filter(|address| !found.contains(address)) else { continue };
        if found.len() == MOST_ADDRESSES {
            left_out.at(&item, format!("is too much; a node has at most {MOST_ADDRESSES} addresses"));
            break;
        }
        found.push(address);
    }
    found.into_iter().collect()
}
