//! The core is pure: what it is built from fits on one screen, and there is no runtime, no log and no I/O in it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::process::Command;

/// Compact sets and maps, small vectors, networks of addresses, hashes, shared bytes, error types; and what those need.
const CORE: [&str; 22] = [
    "block-buffer",
    "bytes",
    "cfg-if",
    "const-oid",
    "cpufeatures",
    "crypto-common",
    "digest",
    "fearless_simd",
    "flock-nft",
    "flock-shared",
    "fnv",
    "hashbrown",
    "hybrid-array",
    "ipnet",
    "libm",
    "litemap",
    "roaring",
    "sha2",
    "slab",
    "smallvec",
    "thiserror",
    "typenum",
];

/// Of [`CORE`], what the model of nft does without.
const BEYOND_NFT: [&str; 7] =
    ["fearless_simd", "flock-nft", "hashbrown", "libm", "litemap", "roaring", "slab"];

/// The names of all packages that `package` is built from; macros, which run in the compiler only, left out.
fn built_from(package: &str) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    // One target, for the list to be the same wherever this runs: processors differ in what looks at them.
    cargo.args(["tree", "--offline", "--edges", "normal,no-proc-macro", "--prefix", "none"]);
    cargo.args(["--target", "x86_64-unknown-linux-gnu", "--package", package]);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packages = String::from_utf8(output.stdout).unwrap();
    let names = packages.lines().filter_map(|line| line.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != package).map(str::to_owned).collect()
}

#[test]
fn the_core_is_built_from_a_short_list() {
    assert_eq!(built_from("flock-compiler-core"), CORE.map(str::to_owned).into());
}

#[test]
fn so_is_the_model_of_nft() {
    let expected = CORE.into_iter().filter(|name| !BEYOND_NFT.contains(name)).map(str::to_owned);
    assert_eq!(built_from("flock-nft"), expected.collect());
}
