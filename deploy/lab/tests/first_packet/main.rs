//! A pod's first packet: the reference CNI plugins with ours behind them, the real agent and the real compiler, and real
//! packets from the instant at which a pod has an interface.
//!
//! The short form runs by default; `FLOCK_PODS=1000,200` attaches so many pods one after another, and so many at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "these are tests")]

mod cluster;
mod peers;
mod rights;
mod stage;
mod starts;
mod traffic;

#[path = "../end_to_end/api.rs"]
mod api;
#[path = "../end_to_end/compiler.rs"]
#[allow(dead_code, reason = "some of it is for others")]
mod compiler;
#[path = "../end_to_end/support/mod.rs"]
mod support;
