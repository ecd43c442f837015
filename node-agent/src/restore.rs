//! Once: the saved ruleset back in place, before a node's pods start and with nobody to ask. The steps are those of an
//! agent that starts; what differs is who may be there already.
//!
//! An agent has a claim on its state folder, and whoever restores wants it alone: beside an agent nothing is done. Where a
//! table judges without an agent, it stays: an agent left it, which knew at least as much as is saved. On disk, everything
//! stays as it is.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flock_proto::Outcome;
use flock_shared::{NodeName, Revision};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

use crate::child::ChildError;
use crate::conntrack::request::SweepRequests;
use crate::drops::DropsBell;
use crate::health::Enforcement;
use crate::nft::Nft;
use crate::runner::{Applied, Outlets, Runner};
use crate::state::{self, Claim, SavedJournal, Share, StateDir, StateError};

/// The part of the time that one script may take: the whole may be tried, then the full script without its deltas, with
/// questions before that.
const OF_A_SCRIPT: f64 = 0.4;
/// Of each there is room for: the whole, and the full script without its deltas.
const ACKS: usize = 2;

/// What to restore.
#[derive(Debug, Clone)]
pub struct Restore {
    /// Whose ruleset it has to be; `None`: whose it says that it is.
    pub node: Option<NodeName>,
    /// Where it is.
    pub state_dir: PathBuf,
    /// How nft is run.
    pub nft: Nft,
    /// No longer than this, whatever happens: the node starts behind it.
    pub within: Duration,
}

/// How it is with the ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// It is in place.
    Done {
        /// Whose it is.
        node: NodeName,
        /// The state that stands.
        revision: Revision,
    },
    /// None is saved.
    Nothing,
    /// An agent is there, who does it.
    Attended,
    /// Something judges already.
    Standing,
}

/// Why the ruleset is not in place.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// What is saved is not to be applied.
    #[error("the saved ruleset was refused")]
    State(#[from] StateError),
    /// The folder could not be claimed.
    #[error("the state folder cannot be used")]
    Folder(#[source] io::Error),
    /// The folder could not be read to the end.
    #[error("reading the saved ruleset ended unexpectedly")]
    Reading(#[from] JoinError),
    /// nft could not say what stands.
    #[error("nft could not be asked")]
    Asking(#[from] ChildError),
    /// nft did not take it.
    #[error("the saved ruleset was not applied ({outcome}): {error}")]
    NotApplied {
        /// What became of it.
        outcome: Outcome,
        /// What was wrong.
        error: String,
    },
    /// It took too long.
    #[error("not restored within {0:?}")]
    Late(Duration),
}

/// What is in the folder.
enum FolderState {
    Nothing,
    Attended,
    Saved { node: NodeName, saved: Box<SavedJournal>, claim: Claim },
}

/// Puts the saved ruleset in place, unless something stands or somebody attends to it.
///
/// # Errors
/// Why it is not in place.
pub async fn run(what: Restore) -> Result<Restored, RestoreError> {
    let within = what.within;
    timeout(within, restore(what)).await.unwrap_or(Err(RestoreError::Late(within)))
}

async fn restore(Restore { node, state_dir, nft, within }: Restore) -> Result<Restored, RestoreError> {
    // Off the loop: a disk that hangs must not hold up the clock.
    let (node, saved, _claim) = match spawn_blocking(move || look(&state_dir, node)).await?? {
        FolderState::Nothing => return Ok(Restored::Nothing),
        FolderState::Attended => return Ok(Restored::Attended),
        FolderState::Saved { node, saved, claim } => (node, saved, claim),
    };
    let nft = Nft::new(nft.program().clone(), nft.limit().min(within.mul_f64(OF_A_SCRIPT)));
    if nft.judges().await? {
        return Ok(Restored::Standing);
    }
    let (acks, mut answers) = mpsc::channel(ACKS);
    let (applied, outlet) = watch::channel(Applied::default());
    let enforcement = watch::channel(Enforcement::default()).0;
    let (full_needed, journal) = (watch::channel(0).0, watch::channel(None).0);
    let (sweeps, _requested) = SweepRequests::new();
    let outlets =
        Outlets { acks, applied, enforcement, full_needed, journal, sweeps, drops: DropsBell::unheard() };
    Runner::new(nft, outlets, within).restore(saved.journal).await;
    if let Some(revision) = outlet.borrow().revision.clone() {
        return Ok(Restored::Done { node, revision });
    }
    // There may have been a second attempt, without deltas: the last one tells.
    let mut last = None;
    while let Ok(answer) = answers.try_recv() {
        last = Some(answer);
    }
    let (outcome, error) = last.map_or((Outcome::NftFailed, String::new()), |ack| (ack.outcome, ack.error));
    Err(RestoreError::NotApplied { outcome, error })
}

fn look(folder: &Path, node: Option<NodeName>) -> Result<FolderState, RestoreError> {
    let claim = match state::claim(folder, Share::Alone) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FolderState::Nothing),
        Err(error) => return Err(RestoreError::Folder(error)),
        Ok(None) => return Ok(FolderState::Attended),
        Ok(Some(claim)) => claim,
    };
    let Some(dir) = StateDir::found(folder)? else { return Ok(FolderState::Nothing) };
    if node.is_some_and(|node| node != *dir.node()) {
        return Err(StateError::Foreign(dir.node().clone()).into());
    }
    let Some(saved) = dir.look()? else { return Ok(FolderState::Nothing) };
    Ok(FolderState::Saved { node: dir.node().clone(), saved: Box::new(saved), claim })
}
