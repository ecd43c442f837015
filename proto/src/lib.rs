#![doc = include_str!("../README.md")]

mod ack;
mod attach;
mod drops;
mod error;
mod facts;
mod flows;
mod forget;
mod framed;
mod hello;
mod json;
mod message;
mod node_state;
mod position;
mod receipt;
mod text;
mod update;

pub use ack::{Ack, ERROR_LIMIT, Outcome, STRIKES_LIMIT};
pub use attach::{Attach, Attached, BEHIND_LIMIT, Detach, SANDBOXES_LIMIT};
pub use drops::{AGO_LIMIT, DROPS_LIMIT, DropDirection, DropKey, DroppedFlow, Drops, DropsWanted, Unlisted};
pub use error::WireError;
pub use facts::{
    Bridge, BridgeNf, BridgePort, FLOWTABLE_LIMIT, FactsError, NodeFacts, PortKind, REFUSED_LIMIT,
    REFUSED_LINES,
};
pub use flows::{FLOWS_LIMIT, Flow, Flows, LAST_LOOK, Translated};
pub use forget::{Answer, Forget};
pub use framed::Framed;
pub use hello::{Hello, VERSION_LIMIT};
pub use message::AgentMessage;
pub use node_state::{NodeState, Others, Sight};
pub use position::{POSITION_LIMIT, Position, PositionError};
pub use receipt::{NodeReceipt, OverdueReceipt, PolicyReceipt, ReceiptFile};
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
