//! What makes pods.

use std::sync::Arc;

use flock_compiler_core::object::Pod;

/// The workload of a pod as people write it, such as `deploy/api`; `None`: it is not known.
#[must_use]
pub fn workload(pod: &Arc<Pod>) -> Option<String> {
    pod.workload().map(ToString::to_string)
}
