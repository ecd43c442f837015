#![doc = include_str!("../README.md")]

pub mod change;
mod collections;
pub mod delta;
pub mod forget;
mod invariant;
pub mod judge;
pub mod label;
pub mod layout;
pub mod object;
pub mod output;
mod outside;
pub mod problem;
pub mod translate;
pub mod unjudged;
pub mod world;

pub use change::{Change, Edit};
pub use collections::sorted;
pub use delta::{Delta, DeltaBody, MarkerUpdate, diff};
pub use flock_nft as nft;
pub use flock_nft::{block, identity, members, port};
pub use invariant::{Broken, OnBreak};
pub use label::{Labels, Operator, Requirement, Selector};
pub use layout::{layout, render};
pub use output::{Output, revision};
pub use outside::outside_pod_cidrs;
pub use problem::{Consequence, Problem};
pub use translate::{
    KeepDrops, NodeChange, Options, Pass, Translation, Translator, UnreadyPods, Work, translate,
};
pub use unjudged::Unjudged;
pub use world::World;
