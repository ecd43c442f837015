#![doc = include_str!("../README.md")]

pub mod attended;
pub mod block;
pub mod costs;
pub mod direction;
pub mod drops;
pub mod identity;
pub mod interface;
pub mod interpret;
mod kind;
pub mod members;
pub mod model;
mod name;
mod objects;
mod phrases;
pub mod pod_cidr;
pub mod port;
pub mod read;
mod steps;
mod text;
pub mod transaction;
pub mod transport;
mod words;
mod write;

pub use model::{
    Chain, Content, Element, Field, Fields, Hook, Map, Match, NamedRanges, Rule, Set, SetType, Statement,
    Table, Verdict,
};
pub use name::{Allow, ChainName, Family, MapName, SetName, TableName};
pub use objects::{Objects, Texts};
pub use steps::{sets_in_steps, write_in_steps};
pub use transaction::Transaction;
pub use transport::Transport;
pub use write::{write, write_changed_keys};
