//! Manifests to scripts: whatever the bytes, nothing panics and no script holds a tenant's characters.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flock_compiler::fuzzing::manifests_render(bytes));
