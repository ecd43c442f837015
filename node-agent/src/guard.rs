//! What a script may do to this node: change the tables of this project, judge packets there, and cost what a node can
//! bear. Nothing else.
//!
//! The agent does not know what a script means. But who takes over the compiler must not get the node with it. So there
//! is no list of what is forbidden: a script is read by the grammar of what our compiler can say, in the crate that the
//! compiler writes it with, and refused at the first line that is not of it or that costs too much. Whatever a later
//! compiler needs beyond it, agents have to know first.

pub use flock_nft::costs::{Costs, Refused, Why};

/// Checks a script that is to be committed on tables that cost this; what they cost then.
///
/// # Errors
/// The first line that is not allowed.
pub fn check(standing: &Costs, script: &[u8]) -> Result<Costs, Refused> {
    standing.after(script)
}

#[cfg(test)]
#[path = "guard_tests/mod.rs"]
mod tests;
