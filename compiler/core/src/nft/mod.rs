//! nftables as types: what a table is, how it is written, and what it does to a packet.

pub mod interpret;
pub mod model;
mod write;

pub use model::{
    Chain, ChainName, Content, Element, Field, Hook, Icmp, Map, MapName, Match, Rule, Set, SetName, SetType,
    Statement, Table, Verdict,
};
pub use write::write;
