//! A Kubernetes API server in a tokio task, for tests: real HTTP/1.1 on a loopback port, objects in memory.
//!
//! It speaks what a client that lists and watches relies on: a global resource version, pages with `continue`
//! tokens, watches with bookmarks and a limited history, `Status` bodies, both forms of 410. And it fails on
//! request: connections cut in the middle of a chunk, errors for the next requests, slow or corrupt streams.
//!
//! ```text
//! test ──put, remove, compact──▶ Store ◀──list, watch, create…── routes ◀──HTTP── client
//! test ──register, issue───────▶ Identities ◀──token reviews and requests──┤
//! test ──allow─────────────────▶ Grants ◀──subject access reviews──────────┘
//! test ──add───────────────────▶ Forwards ◀──ports of pods by websocket── client
//! test ──fail, corrupt, cut────▶ Faults ─────────────────────────▶ wire
//! ```
//!
//! It knows who is behind a token and who may do what, for those who ask; of its own requests it asks a token at most
//! ([`Settings::closed`]). It checks no schema and not that a namespace exists: an object that a real server would refuse
//! is just what some tests want to send.

mod account;
mod api;
mod faults;
mod grants;
mod identity;
mod kind;
mod list;
mod message;
mod page;
mod patch;
mod port_forward;
mod proxy;
mod request;
mod review;
mod secret;
mod selector;
mod server;
mod stamp;
mod status;
mod store;
mod token_request;
mod wait;
mod watch;
mod wire;

pub use account::AccountToken;
pub use faults::{Cut, Delivery, Expiry, Failure, Faults};
pub use grants::{Grant, Grants, Subject};
pub use identity::{API_AUDIENCE, BoundPod, Identities, Identity};
pub use kind::{
    CONFIG_MAP, Kind, NAMESPACE, NETWORK_POLICY, NODE, NODE_PODS, POD, PORT_FORWARD, SECRET, SERVICE,
    SERVICE_ACCOUNT, SUBJECT_ACCESS_REVIEW, TOKEN_REQUEST, TOKEN_REVIEW,
};
pub use port_forward::Forwards;
pub use proxy::Proxy;
pub use request::Verb;
pub use server::{ApiServer, Settings, StartError};
pub use status::Status;
pub use store::{Backup, Store};
pub use wait::{WaitedInVain, wait_until};
