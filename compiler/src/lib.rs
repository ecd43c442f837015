#![doc = include_str!("../README.md")]

pub mod access;
pub mod admin;
pub mod attach;
mod background;
mod certify;
pub mod cli;
pub mod drops;
pub mod engine;
mod facts;
pub mod fleet;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod in_force;
pub mod listen;
pub mod metrics;
pub mod mirror;
pub mod node_status;
pub mod policy_events;
pub mod readiness;
pub mod render;
pub mod replicas;
mod secured;
pub mod self_check;
pub mod serve;
pub mod service;
pub mod source;
mod throttle;
pub mod tls;
pub mod verify;
