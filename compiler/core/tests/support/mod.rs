//! What the tests of the core share: random clusters in the API's own shape, random flows, histories, and the way from
//! that shape to the core's objects.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub(crate) mod dice;
pub(crate) mod generator;
pub(crate) mod history;
pub(crate) mod objects;
pub(crate) mod to_core;

use proptest::test_runner::{Config, RngSeed};

/// At least `cases` cases of the same random numbers on every run; `PROPTEST_CASES` asks for more of them and
/// `PROPTEST_RNG_SEED` for others.
pub(crate) fn config(cases: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let default = Config::default();
    let rng_seed = match default.rng_seed {
        RngSeed::Random => RngSeed::Fixed(0x00f1_0cc0),
        fixed @ RngSeed::Fixed(_) => fixed,
    };
    Config {
        cases: cases.max(asked),
        rng_seed,
        failure_persistence: None,
        max_shrink_iters: 100_000,
        ..default
    }
}
