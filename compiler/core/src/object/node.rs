//! A node: that it exists, so that it gets a script before its first pod.

use flock_shared::NodeName;

/// `v1.Node`, trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: NodeName,
}
