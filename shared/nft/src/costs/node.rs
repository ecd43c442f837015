//! The table that a compiler gives a node at most, beside what the node's own pods take in it. Below the limits of the
//! [agent](super), which also holds for a compiler that was taken over.
//!
//! Chosen by `deploy/bench tables`, so that the heaviest table takes some 2 s of nft and kernel in steps of 5,000 objects, and
//! less than 512 MB of kernel memory while somebody listens to nf_tables news. On one core of 3 GHz, nft 1.0.6 and
//! kernel 6.18, such a table takes 0.15 s for its sets (the time grows with the square of their number), 0.15 s for each
//! 1,000 chains of five rules that name one of these sets each, and for each step of 5,000 what is said below: in all
//! 1.6 s of processor time, 2.1 s by the clock on shared cores, 2.2 s while somebody listens, and 0.1 GB at most, of which
//! 40 MB stay and are charged to the agent.

use super::limits::{CHAINS_PER_TABLE, ELEMENTS_PER_TABLE, SETS_PER_TABLE};

/// Sets and verdict maps.
pub const SETS: u64 = 1 << 11;

/// Chains. Each has a rule for every set that it names, of which there are a few.
pub const CHAINS: u64 = 2_560;

/// Elements, each with its weight: addresses of 150,000 pods in both families.
pub const ELEMENTS: u64 = 600_000;

/// An address: 5,000 take 18 ms, 24 ms while somebody listens.
pub const ADDRESS: u64 = 2;
/// An address with protocol and port: 33 and 36 ms.
pub const SERVICE: u64 = 3;
/// A range of addresses, which is two elements for the kernel: 42 and 53 ms.
pub const ADDRESS_RANGE: u64 = 5;
/// A port that leads to a chain: 40 ms.
pub const PORT: u64 = 3;
/// A range of ports that leads to a chain: 50 ms for 3,000 in one map.
pub const PORT_RANGE: u64 = 8;

const _: () = assert!(2 * SETS <= SETS_PER_TABLE as u64 && 2 * CHAINS <= CHAINS_PER_TABLE as u64);
const _: () = assert!(2 * ELEMENTS / ADDRESS <= ELEMENTS_PER_TABLE as u64);
