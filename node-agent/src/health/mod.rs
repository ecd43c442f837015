//! Health: what probes are told. Readiness is decided from what the runner, the stream and the look at the node have said
//! last, without any I/O (`readiness`, `notes`); the port only hands it out (`server`).
//!
//! The agent has one thread. So an answer comes from the same loop that enforces, and a loop that is stuck is a probe that
//! fails. What that loop waits for, nft above all, is bounded elsewhere and holds up no answer.

mod address;
mod notes;
mod readiness;
mod server;

pub use address::{HealthListen, HealthListenError};
pub use readiness::{Contact, Enforcement, Failure, Readiness, Snapshot};
pub use server::{Health, HealthPort};
