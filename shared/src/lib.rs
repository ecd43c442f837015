#![doc = include_str!("../README.md")]

pub mod access;
#[cfg(feature = "backoff")]
pub mod backoff;
mod causes;
#[cfg(feature = "cni")]
pub mod cni;
#[cfg(feature = "dial")]
pub mod dial;
#[cfg(feature = "cni")]
pub mod json;
mod listed;
pub mod marker;
pub mod name;
#[cfg(feature = "pause")]
pub mod pause;
pub mod prefixes;
pub mod script;
#[cfg(feature = "shutdown")]
pub mod shutdown;
pub mod steps;
pub mod tables;
#[cfg(feature = "telemetry")]
pub mod telemetry;
pub mod token;

pub use causes::causes;
pub use listed::listed;
pub use marker::{MARKER_PREFIX, PAST_PREFIX, SUPERSEDED_LIMIT, Superseded, SupersededError};
pub use name::{NameError, NamespaceName, NodeName, ObjectKey, ObjectName, PodKey, PolicyKey};
pub use script::{HashMismatch, Revision, RevisionError, Script, ScriptHash};
pub use tables::{BRIDGE_TABLE, TABLE};
