//! The CNI plugin behind the reference plugins (Debian's containernetworking-plugins), driven as a runtime drives them,
//! with an agent that says what the test wants.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod agent;
mod away;
mod real;
mod stage;
mod stub;

#[path = "../end_to_end/support/programs.rs"]
#[allow(dead_code, reason = "some of it is for others")]
mod programs;
