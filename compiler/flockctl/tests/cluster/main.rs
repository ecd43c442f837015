//! flockctl as a process against an API server in this one, which forwards it to a compiler that says what a test wants.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "what is skipped is said")]

mod check;
mod forwarding;
mod manifests;
mod merged;
mod missing;
mod plugin;
mod questions;
mod screens;
mod site;
mod target;
mod url;
