//! The pure core of flock-netpol's compiler: cluster objects in, one nftables script per node out.
//!
//! ```text
//! Change → World → translate (passes) → Output (per node) ─┬─ layout → Table → write ─┬→ Script
//!                                                          └─ diff → Delta → Body ────┘
//! ```
//!
//! Nothing here does I/O, reads a clock or iterates over a hash map on the way to bytes: equal objects give equal
//! bytes, in whatever order they arrived.

mod ahead;
pub mod change;
pub mod delta;
pub mod forget;
mod idset;
pub mod label;
pub mod layout;
pub mod object;
pub mod output;
mod parallel;
pub mod problem;
pub mod revision;
pub mod sorted;
pub mod translate;
pub mod unjudged;
pub mod world;

pub use change::{Change, Edit};
pub use delta::{Body, Delta, End, diff};
pub use flock_nft as nft;
pub use flock_nft::{block, identity, members, port};
pub use label::{Labels, Operator, Requirement, Selector};
pub use layout::{layout, render};
pub use output::Output;
pub use problem::{Consequence, Problem};
pub use translate::{NodeChange, Options, Pass, Translation, Translator, UnreadyPods, Work, translate};
pub use unjudged::Unjudged;
pub use world::World;
