//! The compiler's I/O shell: sources of cluster objects, the engine that owns the world, publishing, the gRPC
//! services and the command line. What objects mean is decided in `flock-compiler-core`.

pub mod access;
pub mod admin;
pub mod attach;
pub mod cli;
pub mod convert;
pub mod engine;
mod facts;
pub mod fleet;
pub mod fuzzing;
pub mod listen;
pub mod metrics;
pub mod render;
mod secured;
pub mod serve;
pub mod service;
pub mod source;
mod throttle;
pub mod tls;
