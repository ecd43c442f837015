//! A connection of the gRPC port: the socket's side, and the handle that its requests and the watchdog have of it.
//!
//! ```text
//! HTTP/2 ─ reads, writes ─▶ Connection ─▶ socket
//!                               │ shares its state with
//! requests ─▶ ConnectionHandle ─┤ Authentication: who is there, and for how long that may stay open
//! watchdog ─▶ Connections ──────┘ Backlog: what is not written yet, and what comes back when it is
//! ```
//!
//! Limits before authentication are those of [`crate::listen`], which lets a connection in: its place there is given back
//! once its peer is authenticated. tower has no part in this: it sees requests, and a peer that is silent makes none.

mod authentication;
mod backlog;
mod handle;
mod io;
mod registry;
mod watchdog;

pub(super) use self::handle::{ConnectionHandle, HeldMessage};
pub(super) use self::io::Connection;
pub(super) use self::registry::Connections;
pub(super) use self::watchdog::watch;
