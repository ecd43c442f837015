//! `v1.Node`.

use flock_compiler_core::object::Node;
use flock_shared::NodeName;
use serde_json::Value;

use super::field::Field;
use super::{ConvertError, Converter, metadata, usable};

impl Converter {
    /// Converts a node.
    ///
    /// # Errors
    /// If it has no valid name.
    pub fn node(&self, value: &Value) -> Result<Node, ConvertError> {
        let mut fatal = self.faults();
        let root = Field::root(value);
        let name = metadata::name(&root, &mut fatal, NodeName::new);
        usable("Node", value, name.map(|name| Node { name }), fatal)
    }
}
