//! Asking memory for many things in a row, before they are needed one by one.
//!
//! The objects of a cluster lie all over memory, and what is done with one mostly waits for it. Reads that do not depend
//! on each other overlap when they follow closely: ten cost little more than one. Nothing but time depends on it.

use std::hint::black_box;

/// Reads all these values and forgets them.
pub(crate) fn ask<T: Into<u64>>(values: impl IntoIterator<Item = T>) {
    black_box(values.into_iter().fold(0, |all, value| all ^ value.into()));
}
