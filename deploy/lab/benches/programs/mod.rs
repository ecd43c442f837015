//! The real programs and their stand-ins, as the end-to-end tests use them.

#[path = "../../tests/end_to_end/support"]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    dead_code,
    reason = "made for tests: what should not happen ends a bench, too"
)]
pub(crate) mod support {
    pub(crate) mod process;
    pub(crate) mod programs;
    pub(crate) mod wait;
}
