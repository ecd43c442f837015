//! A compiler beyond loopback, as far as a test goes: real TLS on a socket, certificates of its own in the Secret of an
//! API server in this process, which also reviews every token.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod access {
    mod admin;
    mod agents;
    mod ask;
    mod bytes;
    mod certificates;
    mod cluster;
    mod compiler;
    mod debug;
    mod events;
    mod open_streams;
    mod rights;
    mod rotation;
    mod silent;
    mod stream;
    mod unauthenticated;
}
