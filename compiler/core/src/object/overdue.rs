//! Overdue: who is not waited for any more. The clock says so, and no object.

use flock_shared::{NamespaceName, NodeName, PodKey};

/// Whose pods on their way close no node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Overdue {
    /// A pod that has been on its way for too long.
    Pod(PodKey),
    /// The pods of a namespace on a node where they have been waited for in vain for too long.
    Namespace(NodeName, NamespaceName),
}
