//! Scripts: what passes the guard is made of statements on our table.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flock_node_agent::fuzzing::guarded(bytes));
