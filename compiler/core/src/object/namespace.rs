//! A namespace: a name and the labels that `namespaceSelector` looks at.

use flock_shared::NamespaceName;

use crate::label::Labels;

/// `v1.Namespace`, trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.name`.
    pub name: NamespaceName,
    /// `metadata.labels`.
    pub labels: Labels,
}
