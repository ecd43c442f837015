//! What CNI does on nodes: judging what an agent says of it, and writing it down where every replica reads it.
//!
//! ```text
//! agent ─ Attach, Detach, Sandboxes ─▶ admit ─▶ AttachmentWriter (a task per node that has something to write)
//!                                                  └─ Record ─ PUT ─▶ API server ─ watch ─▶ World of every replica
//! ```
//!
//! Nothing is taken to the world from here where there is an API server: what this replica writes it reads back like every
//! other one, so there is one truth, and it has a version.

mod admit;
mod record;
mod store;
mod token_bucket;
mod writer;

pub use admit::{Admission, Admitter};
pub use record::{Entry, Given, Record, RecordEdit, RecordFull};
pub use store::{Cluster, Memory, Store, StoreError};
pub use token_bucket::TokenBucket;
pub use writer::{AttachmentWriter, WriteError};
