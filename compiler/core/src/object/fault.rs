//! Faults: fields of an object that could not be understood.

use std::sync::Arc;

/// A field that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[error("{origin}: {field}: {message}")]
pub struct Fault {
    /// Where the object came from: a file's path as the user gave it, `<stdin>`, or `kubernetes`.
    pub origin: Arc<str>,
    /// Path of the field, such as `spec.ingress[0].from[1].ipBlock.cidr`.
    pub field: String,
    /// What was found and what was expected.
    pub message: String,
}
