#![doc = include_str!("../README.md")]

mod cite;
mod cluster;
mod drops;
mod ends;
mod error;
mod explain;
mod internet;
mod lint;
mod open;
mod policies;
mod ports;
mod preview;
mod reach;
mod selector;
mod services;
mod shown;
mod sight;
mod tell;
mod workload;

pub use cite::{cite, direction, policy_name};
pub use cluster::Cluster;
pub use drops::{DropFilter, Dropped, carried, dropped, numbered};
pub use ends::{At, Ends, ends};
pub use error::AskError;
pub use explain::explain;
pub use lint::{Lint, lasting, lint};
pub use open::open;
pub use policies::policies;
pub use preview::{Proposed, preview, previewed};
pub use reach::{matrix, reach};
pub use services::ServiceAddresses;
pub use shown::{pod_name, shown};
pub use sight::Sight;
pub use tell::{Teller, kind, why_dropped};
pub use workload::workload;
