//! Calls of the CNI plugin, relayed to the compiler: a sandbox has come to be, or is gone.
//!
//! ```text
//! flock-cni ─ Request ─▶ socket ─▶ desk ─▶ book ─▶ disk
//!           ◀─ Answer ──              └─▶ line ─ Attach, Detach ─▶ compiler
//!                  links, GC, failures ─▶ book ─▶ debts ─▶ line
//! ```
//!
//! It holds no policy and interprets nothing: what a sandbox is given is carried as it is. The [`book`] has what was added
//! and not deleted; it is sent with every stream, and what the compiler did not hear of is told until it has.

pub mod book;
pub mod debts;
pub mod desk;
pub mod keeper;
pub mod line;
pub mod links;
pub(crate) mod saved;
pub mod socket;
pub mod tally;

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use crate::child::Program;
use crate::state::StateDir;
use desk::Desk;
use keeper::Keeper;
use line::Line;
use saved::BookFile;
use socket::Listening;

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
    desk: Desk,
    nft: Program,
    interval: Duration,
}

impl Relay {
    /// Goes on with the book in a state folder. Links are looked for where `nft` works, every `interval`.
    #[must_use]
    pub fn new(
        reception: Reception,
        folder: Option<StateDir>,
        line: Line,
        nft: Program,
        interval: Duration,
    ) -> Self {
        Self { reception, desk: Desk::new(Keeper::new(folder.map(BookFile::new)), line), nft, interval }
    }

    /// Has the node's sandboxes.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        self.desk.keeper.clone()
    }

    /// Answers calls, and sees to it that the compiler hears of all.
    pub async fn run(self) -> Infallible {
        let Self { reception: Reception { path, listening }, desk, nft, interval } = self;
        tokio::join!(
            desk.keeper.run(),
            socket::serve(&path, listening, &desk),
            debts::pay(&desk),
            links::look(&desk.keeper, &nft, interval),
        );
        std::future::pending().await
    }
}
