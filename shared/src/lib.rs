//! What every flock-netpol binary shares: names that the Kubernetes API hands out, the nftables script with its
//! hash and revision, telemetry and shutdown. Nothing here knows Kubernetes, gRPC servers or what a script means.

pub mod access;
#[cfg(feature = "backoff")]
pub mod backoff;
#[cfg(feature = "cni")]
pub mod cni;
#[cfg(feature = "dial")]
pub mod dial;
#[cfg(feature = "cni")]
pub mod json;
pub mod marker;
pub mod name;
pub mod prefixes;
pub mod script;
pub mod shutdown;
pub mod steps;
pub mod tables;
pub mod telemetry;
pub mod token;

pub use marker::{MARKER_PREFIX, PAST_PREFIX, SUPERSEDED_LIMIT, Superseded, SupersededError};
pub use name::{NameError, NamespaceName, NodeName, ObjectKey, ObjectName, PodKey, PolicyKey};
pub use script::{HashMismatch, Revision, RevisionError, Script, ScriptHash};
pub use tables::{BRIDGE_TABLE, TABLE};
