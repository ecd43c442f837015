//! `v1.Namespace`.

use flock_compiler_core::object::{Namespace, Untranslated};
use flock_shared::NamespaceName;
use serde_json::Value;

use super::field::Field;
use super::{ConvertError, Converter, metadata, usable};

impl Converter {
    /// Converts a namespace.
    ///
    /// # Errors
    /// If it has no valid name, or a label that is no string.
    pub fn namespace(&self, value: &Value) -> Result<Namespace, ConvertError> {
        let mut fatal = self.faults();
        let root = Field::root(value);
        let name = metadata::name(&root, &mut fatal, NamespaceName::new);
        let labels = metadata::labels(&root, &mut fatal);
        let namespace = name.map(|name| Namespace {
            ignored_lints: Untranslated(metadata::ignored_lints(&root)),
            ..Namespace::new(name, labels)
        });
        usable("Namespace", value, namespace, fatal)
    }
}
