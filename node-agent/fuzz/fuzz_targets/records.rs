//! The journal on disk: nothing is taken for a record that is none.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flock_node_agent::fuzzing::records(bytes));
