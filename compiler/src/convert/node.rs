//! `v1.Node`.
//!
//! A node is one even if its pod CIDRs are not understood. Such a block is left out and reported: its pods are then open
//! until their addresses are known.

use flock_compiler_core::object::{Node, PodCidr};
use flock_compiler_core::sorted::Sorted;
use flock_shared::NodeName;
use serde_json::Value;

use super::field::{Faults, Field};
use super::policy_peer::cidr_block;
use super::{ConvertError, Converter, metadata, usable};

/// A node has one block of each family, says the API; every block costs every packet a comparison.
const MOST_PER_FAMILY: usize = 4;

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
        let node = name.map(|name| Node { name, pod_cidrs, faults: left_out.into_vec() });
        usable("Node", value, node, fatal)
    }
}

/// `spec.podCIDRs`; where there are none, `spec.podCIDR`, which is all that older versions know.
fn pod_cidrs(root: &Field<'_>, left_out: &mut Faults) -> Sorted<PodCidr> {
    let mut found = Vec::new();
    let Some(spec) = root.get("spec").filter(|spec| spec.object(left_out).is_some()) else {
        return Sorted::new();
    };
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
    let block = |text: &str| PodCidr::new(cidr_block(text)?).map_err(|error| error.to_string());
    let Some(block) = field.parsed(left_out, block).filter(|block| !found.contains(block)) else { return };
    let is_v4 = |block: &PodCidr| block.first().is_ipv4();
    if found.iter().filter(|other| is_v4(other) == is_v4(&block)).count() == MOST_PER_FAMILY {
        left_out.at(field, format!("is too much; a node has at most {MOST_PER_FAMILY} blocks of a family"));
    } else {
        found.push(block);
    }
}
