//! Calls of the CNI plugin, relayed to the compiler: a sandbox has come to be, or is gone.
//!
//! ```text
//! flock-cni ─ Request ─▶ socket ─▶ handler ─▶ sandboxes ─▶ disk
//!           ◀─ Answer ──                 └─▶ client ─ Attach, Detach ─▶ compiler
//!                 links, GC, failures ─▶ sandboxes ─▶ pending ─▶ client
//! ```
//!
//! It holds no policy and interprets nothing: what a sandbox is given is carried as it is. [`sandboxes`] has what was added
//! and not deleted; it is sent with every stream, and what the compiler did not hear of is told until it has.

pub mod client;
pub mod failures;
pub mod handler;
pub mod links;
pub mod pending;
pub mod sandboxes;
pub(crate) mod saved;
pub mod socket;
pub mod store;

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use crate::child::Program;
use crate::state::StateDir;
use client::CompilerClient;
use handler::CallHandler;
use saved::SandboxFile;
use socket::Listening;
use store::SandboxStore;

/// A socket at which calls may wait already, while the agent gets ready.
#[derive(Debug)]
pub struct Reception {
    path: PathBuf,
    listening: Option<Listening>,
}

impl Reception {
    /// Opens the socket at a path, or says that it cannot be opened yet.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        let listening = socket::opened(&path, &mut false);
        Self { path, listening }
    }
}

/// All that relays calls.
#[derive(Debug)]
pub struct Relay {
    reception: Reception,
    handler: CallHandler,
    nft: Program,
    interval: Duration,
}

impl Relay {
    /// Goes on with the record of sandboxes in a state folder. Links are looked for where `nft` works, every `interval`.
    #[must_use]
    pub fn new(
        reception: Reception,
        folder: Option<StateDir>,
        client: CompilerClient,
        nft: Program,
        interval: Duration,
    ) -> Self {
        Self {
            reception,
            handler: CallHandler::new(SandboxStore::new(folder.map(SandboxFile::new)), client),
            nft,
            interval,
        }
    }

    /// Has the node's sandboxes.
    #[must_use]
    pub fn store(&self) -> SandboxStore {
        self.handler.store.clone()
    }

    /// Answers calls, and sees to it that the compiler hears of all.
    pub async fn run(self) -> Infallible {
        let Self { reception: Reception { path, listening }, handler, nft, interval } = self;
        tokio::join!(
            handler.store.run(),
            socket::serve(&path, listening, &handler),
            pending::run(&handler),
            links::look(&handler.store, &nft, interval),
        );
        std::future::pending().await
    }
}
