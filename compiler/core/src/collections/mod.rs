//! Containers and ways to work on many things at once, which know nothing of policies.

pub(crate) mod count;
pub(crate) mod counts;
pub(crate) mod ids;
pub(crate) mod idset;
pub(crate) mod interner;
pub(crate) mod lookup;
pub(crate) mod parallel;
pub(crate) mod prefetch;
pub mod sorted;
