//! What end-to-end tests need of the machine: the built programs, processes that never outlive a test, waiting, and
//! a compiler whose every word is the test's.

pub(crate) mod fake_compiler;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod wait;
