//! A namespace: a name and the labels that `namespaceSelector` looks at.

use flock_shared::NamespaceName;

use super::lint_code::LintCode;
use super::untranslated::Untranslated;
use crate::collections::sorted::Sorted;
use crate::label::Labels;

/// `v1.Namespace`, trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.name`.
    pub name: NamespaceName,
    /// `metadata.labels`.
    pub labels: Labels,
    /// Findings that are not told of what is in it.
    pub ignored_lints: Untranslated<Sorted<LintCode>>,
}

impl Namespace {
    /// A namespace in which every finding is told.
    #[must_use]
    pub fn new(name: NamespaceName, labels: Labels) -> Self {
        Self { name, labels, ignored_lints: Untranslated::default() }
    }
}
