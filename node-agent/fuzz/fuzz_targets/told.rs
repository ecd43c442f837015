//! The kernel's answers about connections: whatever the bytes, they are read within their bounds.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    flock_node_agent::fuzzing::told(bytes);
});
