//! Agents' streams: real gRPC against the engine and the services in this process, mostly over pipes in memory and on
//! a clock that moves by itself when nothing else does, so that limits of minutes take no time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod stream {
    mod agent;
    mod answers;
    mod ask;
    mod attach;
    mod bytes;
    mod compiler;
    mod dead;
    mod drops;
    mod facts;
    mod nodes;
    mod objects;
    mod pipe;
    mod problems;
    mod stalled;
    mod storm;
}
