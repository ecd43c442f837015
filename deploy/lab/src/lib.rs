//! A laboratory of network namespaces: nodes that route, pods behind veths, servers, and probes that send real
//! packets of both families over TCP, UDP, SCTP and ICMP. For tests, the demo and measurements; never deployed.
//!
//! ```no_run
//! use flock_lab::{Lab, Probe, Protocol, Verdict};
//!
//! # fn main() -> flock_lab::Result<()> {
//! if let Err(reason) = Lab::available() {
//!     flock_lab::skipped(&reason);
//!     return Ok(());
//! }
//! let lab = Lab::new("example")?;
//! let node = lab.node("node-a")?;
//! let client = node.pod("client", &["10.1.0.2".parse().unwrap(), "fd00:1::2".parse().unwrap()])?;
//! let server = node.pod("server", &["10.1.0.3".parse().unwrap()])?;
//! server.serve(&[(Protocol::Tcp, 80), (Protocol::Sctp, 80)])?;
//! let probe = Probe::new(&client, Protocol::Tcp, server.addresses()[0], 80);
//! assert_eq!(probe.run()?, Verdict::Reached);
//! # Ok(()) }
//! ```
//!
//! A pod's packets always pass its node's forward hook, also between two pods of one node. A service address that
//! leads a pod back to itself needs masquerading in the test's own table, as kube-proxy does it.

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
pub use matrix::{Cell, Matrix, differences};
pub use namespace::Namespace;
pub use node::{Family, Node};
pub use patience::patient;
pub use pod::{Pod, PodSpec};
pub use probe::{Probe, Protocol, Verdict, probe_all};
pub use sandbox::Sandbox;
pub use serve::Arrival;
pub use skipped::skipped;
