//! The Kubernetes source against an API server over real HTTP: whatever happens on the way, what it tells adds up
//! to the server's objects, and nothing vanishes that was there all along.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod watch {
    mod alone;
    mod connect;
    mod connection;
    mod expiry;
    mod harness;
    mod listing;
    mod objects;
    mod oddities;
    mod optional;
    mod outage;
    mod restored;
    mod vanished;
    mod waking;
}
