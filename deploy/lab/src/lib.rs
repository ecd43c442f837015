#![doc = include_str!("../README.md")]

pub mod cni;
mod command;
mod connection;
mod error;
pub mod figures;
mod host;
mod lab;
mod matrix;
mod namespace;
mod node;
mod packet;
mod patience;
mod pod;
mod probe;
mod sandbox;
mod sctp;
mod serve;
mod skipped;

pub use connection::OpenConnection;
pub use error::{LabError, Result};
pub use host::Host;
pub use lab::Lab;
pub use matrix::{Matrix, MatrixCell, differences};
pub use namespace::Namespace;
pub use node::{Family, Node};
pub use patience::patient;
pub use pod::{Pod, PodSpec};
pub use probe::{Probe, Protocol, Verdict, probe_all};
pub use sandbox::Sandbox;
pub use serve::Arrival;
pub use skipped::skipped;
