//! Every open connection, for whoever looks after them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::handle::ConnectionHandle;

/// Every open connection.
#[derive(Debug, Clone, Default)]
pub(in crate::service) struct Connections(Arc<Mutex<OpenConnections>>);

#[derive(Debug, Default)]
struct OpenConnections {
    by_number: BTreeMap<u64, ConnectionHandle>,
    next: u64,
}

impl Connections {
    /// Adds one that has come; its number, which is never used again.
    pub(super) fn insert(&self, handle: ConnectionHandle) -> u64 {
        let mut open = self.0.lock();
        let number = open.next;
        open.next += 1;
        open.by_number.insert(number, handle);
        number
    }

    /// The open connections by number.
    pub(super) fn open(&self) -> BTreeMap<u64, ConnectionHandle> {
        self.0.lock().by_number.clone()
    }

    pub(super) fn remove(&self, number: u64) {
        self.0.lock().by_number.remove(&number);
    }
}
