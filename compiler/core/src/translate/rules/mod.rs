//! From the rules that apply to a group of pods to the rule set that it enforces.
//!
//! ```text
//! policies ─▶ applied_to: groups of pods ─▶ merge: canonical form ─▶ shareable: a rule set ─▶ rule_sets: shared
//! ```

pub(in crate::translate) mod applied_to;
mod identify;
pub(in crate::translate) mod merge;
pub(in crate::translate) mod rule_sets;
mod shareable;
