#![doc = include_str!("../README.md")]

mod markers;
pub mod oracle;
mod transactions;

pub use flock_nft::interpret::{InterpretError, Packet, judge};
pub use markers::Markers;
pub use transactions::{ApplyError, apply, commit};
