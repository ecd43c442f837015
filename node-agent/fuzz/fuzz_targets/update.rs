//! Messages off the wire: none panics, and only what the guard lets pass would reach nft.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flock_node_agent::fuzzing::update(bytes));
