//! Two replicas of the compiler that follow one API server, one of which can be held back, and an agent that moves
//! between them: real HTTP on one side, real gRPC on the other.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod replicas {
    mod agent;
    mod attachments;
    mod moving;
    mod order;
    mod replica;
}
