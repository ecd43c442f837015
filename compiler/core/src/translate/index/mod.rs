//! Indexes: the objects under ids, and what leads from one to the others.
//!
//! `cluster` has pods, namespaces and nodes; `owners`, who claims which address; `select`, selectors by what they ask for;
//! `policies`, which rules apply to a pod; `peers`, which sets a pod is in.

pub(in crate::translate) mod cluster;
pub(in crate::translate) mod owners;
pub(in crate::translate) mod peers;
pub(in crate::translate) mod policies;
pub(in crate::translate) mod select;
