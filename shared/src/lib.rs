//! What every flock-netpol binary shares: names that the Kubernetes API hands out, the nftables script with its
//! hash and revision, telemetry and shutdown. Nothing here knows Kubernetes, gRPC servers or what a script means.

pub mod access;
#[cfg(feature = "backoff")]
pub mod backoff;
#[cfg(feature = "dial")]
pub mod dial;
pub mod name;
pub mod script;
pub mod shutdown;
pub mod telemetry;
pub mod token;

pub use name::{NameError, NamespaceName, NodeName, ObjectKey, ObjectName, PodKey, PolicyKey};
pub use script::{HashMismatch, Revision, RevisionError, Script, ScriptHash};

/// The family and name of the one nftables table that flock-netpol owns, as nft writes them.
pub const TABLE: &str = "inet flock_netpol";

/// The prefix of the marker set's name; the revision follows. Its presence says that the kernel's table is the one
/// a revision describes: `nft list set` on it costs the same whatever else the table holds.
pub const MARKER_PREFIX: &str = "rev_";
