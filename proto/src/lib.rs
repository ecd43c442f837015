//! The `flock.netpol.v1` gRPC API: generated code, and the typed values behind it.
//!
//! The generated types in [`v1`] hold whatever a peer sent. [`Hello`], [`NodeFacts`], [`Update`], [`Ack`] and [`Flows`] are what
//! it may mean:
//! turning a typed value into its message cannot fail, the other way is where all wire validation lives.

mod ack;
mod attach;
mod error;
mod facts;
mod flows;
mod forget;
mod framed;
pub mod fuzzing;
mod hello;
mod message;
mod position;
mod text;
mod update;

pub use ack::{Ack, ERROR_LIMIT, Outcome, STRIKES_LIMIT};
pub use attach::{Attach, Attached, BEHIND_LIMIT, Detach, SANDBOXES_LIMIT};
pub use error::WireError;
pub use facts::{
    Bridge, BridgeNf, BridgePort, FLOWTABLE_LIMIT, FactsError, NodeFacts, PortKind, REFUSED_LIMIT,
    REFUSED_LINES,
};
pub use flows::{FLOWS_LIMIT, Flow, Flows, Translated};
pub use forget::{Answer, Forget};
pub use framed::Framed;
pub use hello::{Hello, VERSION_LIMIT};
pub use message::AgentMessage;
pub use position::{POSITION_LIMIT, Position, PositionError};
pub use update::{Update, UpdateKind};

/// The generated messages, clients and servers of package `flock.netpol.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, clippy::needless_pass_by_value)]
pub mod v1 {
    tonic::include_proto!("flock.netpol.v1");
}

/// The encoded `FileDescriptorSet` of the package and its imports, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The largest message, in bytes, that either side sends or takes: room for a script of some millions of elements.
pub const MAX_MESSAGE_BYTES: usize = 128 * 1024 * 1024;
