//! A Kubernetes API server beside a test.

use flock_testkit::{ApiServer, Kind};
use serde_json::Value;
use tokio::runtime::Runtime;

/// An API server that runs until it is dropped.
pub(crate) struct Api {
    pub(crate) server: ApiServer,
    pub(crate) runtime: Runtime,
}

impl Api {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(ApiServer::start()).unwrap();
        Self { server, runtime }
    }

    pub(crate) fn put(&self, kind: Kind, object: Value) {
        self.server.store().put(kind, object).unwrap();
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // The server's end is a task's, which needs the runtime.
        let _entered = self.runtime.enter();
    }
}
