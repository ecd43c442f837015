#![doc = include_str!("../README.md")]

mod interpreter;
mod markers;
pub mod oracle;
mod transactions;

pub use interpreter::{InterpretError, Packet, judge};
pub use markers::Markers;
pub use transactions::{ApplyError, apply, commit};
