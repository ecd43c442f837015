//! The table that a compiler gives a node at most, beside what the node's own pods take in it. Below the limits of the
//! [agent](super), which also holds for a compiler that was taken over.
//!
//! Chosen by `deploy/bench tables`, so that the heaviest table takes less than 2 s of nft and kernel in steps of 5,000 objects,
//! also on a machine whose cores others share, and less than 512 MB of kernel memory while somebody listens to nf_tables news. On
//! one core of 3 GHz, nft 1.0.6 and kernel 6.18, the time for sets grows with the square of their number (1,000: 0.12 s, 2,000:
//! 0.46 s), 1,000 chains of five rules that name one of these sets each take 0.15 s, and each step of 5,000 what is said
//! below: in all 1.4 s, 1.6 s while somebody listens, and 0.1 GB at most, of which 45 MB stay and are charged to the agent.

use super::limits::{CHAINS_PER_TABLE, ELEMENTS_PER_TABLE, SETS_PER_TABLE};

/// Sets and verdict maps.
pub const SETS: u64 = 1_536;

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
