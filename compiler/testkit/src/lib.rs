//! A Kubernetes API server in a tokio task, for tests: real HTTP/1.1 on a loopback port, objects in memory.
//!
//! It speaks what a client that lists and watches relies on: a global resource version, pages with `continue`
//! tokens, watches with bookmarks and a limited history, `Status` bodies, both forms of 410. And it fails on
//! request: connections cut in the middle of a chunk, errors for the next requests, slow or corrupt streams.
//!
//! ```text
//! test ──put, remove, compact──▶ Store ◀──list, watch, create…── routes ◀──HTTP── client
//! test ──fail, corrupt, cut────▶ Faults ─────────────────────────▶ wire
//! ```
//!
//! It checks no schema, no authorization and not that a namespace exists: an object that a real server would refuse
//! is just what some tests want to send.

mod api;
mod faults;
mod kind;
mod list;
mod message;
mod page;
mod proxy;
mod request;
mod server;
mod stamp;
mod status;
mod store;
mod wait;
mod watch;
mod wire;

pub use faults::{Cut, Delivery, Expiry, Failure, Faults};
pub use kind::{Kind, NAMESPACE, NETWORK_POLICY, NODE, POD};
pub use proxy::Proxy;
pub use request::Verb;
pub use server::{ApiServer, Settings, StartError};
pub use status::Status;
pub use store::Store;
pub use wait::{WaitedInVain, wait_until};
