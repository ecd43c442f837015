//! What CNI does on nodes: judging what an agent says of it, and writing it down where every replica reads it.
//!
//! ```text
//! agent ─ Attach, Detach, Sandboxes ─▶ admit ─▶ Keeper (a task for each node that has something to write)
//!                                                  └─ Record ─ PUT ─▶ API server ─ watch ─▶ World of every replica
//! ```
//!
//! Nothing is taken to the world from here where there is an API server: what this replica writes it reads back like every
//! other one, so there is one truth, and it has a version.

mod admit;
mod allowance;
mod keeper;
mod record;
mod store;

pub use admit::{Admission, Admitter};
pub use allowance::Allowance;
pub use keeper::{KeepError, Keeper};
pub use record::{Edit, Entry, Full, Given, Record};
pub use store::{Cluster, Memory, Store, StoreError};
