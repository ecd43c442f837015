//! What a node enforces: its output, and how that becomes the next one.
//!
//! `update` decides which nodes are assembled anew (`output`), patched (`patch`) or given new members of sets. `guards` knows
//! which blocks a node isolates unless a pod owns the address, `expected` who is on the way to it, `links` how frames and
//! tunnelled packets come to its pods.

pub(in crate::translate) mod expected;
pub(in crate::translate) mod guards;
pub(in crate::translate) mod links;
pub(in crate::translate) mod output;
pub(in crate::translate) mod patch;
pub(in crate::translate) mod update;
