#![doc = include_str!("../README.md")]

pub mod access;
pub mod admin;
pub mod attach;
pub mod cli;
pub mod convert;
pub mod engine;
mod facts;
pub mod fleet;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod listen;
pub mod metrics;
pub mod node_status;
pub mod readiness;
pub mod render;
pub mod replicas;
mod secured;
pub mod serve;
pub mod service;
pub mod source;
mod throttle;
pub mod tls;
