//! The kernel's news: whatever the bytes, nobody is accused without reason.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flock_node_agent::fuzzing::heard(bytes));
