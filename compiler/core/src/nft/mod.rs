//! nftables as types: what a table is, how it is written, and what it does to a packet.

mod commit;
pub mod interpret;
pub mod model;
mod name;
mod objects;
mod text;
pub mod transaction;
mod words;
mod write;

pub use commit::ApplyError;
pub use model::{
    Chain, Content, Element, Field, Fields, Hook, Icmp, Map, Match, Rule, Set, SetType, Statement, Table,
    Verdict,
};
pub use name::{Allow, ChainName, Family, MapName, SetName, TableName};
pub(crate) use objects::{Objects, Texts};
pub use transaction::Transaction;
pub use write::write;
pub(crate) use write::write_changed_keys;
