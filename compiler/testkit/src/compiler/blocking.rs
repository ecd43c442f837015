//! The fake compiler for tests and benches that are no futures, with a runtime of its own.

use std::time::Duration;

use flock_proto::{Ack, v1};
use tokio::runtime::{Handle, Runtime};

use super::{FakeCompiler, PATIENCE, Session};

/// A [`FakeCompiler`] that is waited for.
#[derive(Debug)]
pub struct BlockingCompiler {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    compiler: FakeCompiler,
    runtime: Runtime,
}

/// A [`Session`] that is waited for.
#[derive(Debug)]
pub struct BlockingSession {
    session: Session,
    runtime: Handle,
}

impl BlockingCompiler {
    /// In plain text, on a free port.
    #[must_use]
    pub fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let compiler = runtime.block_on(FakeCompiler::start());
        Self { url: compiler.url(), compiler, runtime }
    }

    /// The next stream that an agent opens.
    pub fn session(&mut self) -> BlockingSession {
        let session = self.runtime.block_on(self.compiler.session());
        BlockingSession { session, runtime: self.runtime.handle().clone() }
    }
}

impl BlockingSession {
    /// How the agent introduced itself.
    #[must_use]
    pub const fn hello(&self) -> &flock_proto::Hello {
        &self.session.hello
    }

    /// Sends an update and gives the answer.
    pub fn ask(&mut self, update: impl Into<v1::Update>) -> Ack {
        self.ask_within(PATIENCE, update)
    }

    /// The same, for what takes so long at most.
    pub fn ask_within(&mut self, limit: Duration, update: impl Into<v1::Update>) -> Ack {
        self.runtime.block_on(async {
            self.session.send(update.into()).await;
            self.session.ack_within(limit).await
        })
    }
}
