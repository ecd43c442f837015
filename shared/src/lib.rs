//! What every flock-netpol binary shares: names that the Kubernetes API hands out, the nftables script with its
//! hash and revision, telemetry and shutdown. Nothing here knows Kubernetes, gRPC servers or what a script means.

pub mod access;
#[cfg(feature = "backoff")]
pub mod backoff;
#[cfg(feature = "dial")]
pub mod dial;
pub mod marker;
pub mod name;
pub mod prefixes;
pub mod script;
pub mod shutdown;
pub mod telemetry;
pub mod token;

pub use marker::{MARKER_PREFIX, PAST_PREFIX, SUPERSEDED_LIMIT, Superseded, SupersededError};
pub use name::{NameError, NamespaceName, NodeName, ObjectKey, ObjectName, PodKey, PolicyKey};
pub use script::{HashMismatch, Revision, RevisionError, Script, ScriptHash};

/// The family and name of the one nftables table that flock-netpol owns, as nft writes them.
pub const TABLE: &str = "inet flock_netpol";

/// The table beside it that judges frames between ports of bridges that pods hang on, with its family.
pub const BRIDGE_TABLE: &str = "bridge flock_netpol";
