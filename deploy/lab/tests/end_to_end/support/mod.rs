//! What end-to-end tests need of the machine: the built programs, processes that never outlive a test, waiting, and the
//! kernel's table.
#![allow(dead_code, reason = "each of the test programs that include this uses its part")]

pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod table;
pub(crate) mod wait;
