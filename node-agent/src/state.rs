//! The journal on disk, so that a node that boots without a compiler is not without policy.
//!
//! Two files of records: the full script, which is replaced as a whole, and the deltas since, which are added one by
//! one. What does not follow from the full script, a torn end or deltas of an older one, is never applied. A file that
//! holds anything else than a full script of this node is set aside.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, remove_file, rename};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flock_proto::MAX_MESSAGE_BYTES;
use flock_shared::{NodeName, ScriptHash};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::process::geteuid;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::cni::saved;
use crate::guard::{self, Costs, Refused};
use crate::journal::{Journal, JournalEntry};
use crate::record::{self, HEADER_LENGTH};

const FILE: &str = "ruleset";
const TEMPORARY: &str = "ruleset.new";
const REFUSED: &str = "ruleset.refused";
const DELTAS: &str = "ruleset.deltas";
/// No file is longer.
const FILE_LENGTH: u64 = (MAX_MESSAGE_BYTES + HEADER_LENGTH) as u64;
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Pipes are not waited for and links are not followed: somebody else may have put them there.
const CAREFUL: i32 = (OFlags::NONBLOCK.bits() | OFlags::NOFOLLOW.bits()).cast_signed();

/// A journal as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedJournal {
    /// What is there.
    pub journal: Journal,
    /// The seal of the last record.
    seal: ScriptHash,
    /// Whether the next delta can be added to it.
    end: Tail,
}

/// What comes after the last record of a journal on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Nothing that matters.
    Clean,
    /// Something that is no record of it.
    Torn,
}

impl Tail {
    fn of(journal: &Journal, rest: &Bytes) -> Self {
        // Until the first delta of a full script takes their place, those of the one before it stay.
        let is_superseded = || journal.deltas().is_empty() && record::is_delta(rest);
        if rest.is_empty() || is_superseded() { Self::Clean } else { Self::Torn }
    }
}

/// Why what is on disk is not applied.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading failed; the file stays where it is.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Others than the agent's user may write to the folder or the file.
    #[error("{} may be written by others than this user", .0.display())]
    Exposed(PathBuf),
    /// It is no regular file, or larger than it may be.
    #[error("it is not a file of a size that an agent writes")]
    Size,
    /// Something else wrote it, or it changed since.
    #[error("it is not what this agent wrote")]
    Changed,
    /// It is another node's.
    #[error("it is the ruleset of node {0}")]
    Foreign(NodeName),
    /// It does what no script may.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Who works with a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// An agent. While a node's agent is updated there may be two.
    WithAgents,
    /// Somebody who may not be there together with an agent.
    Alone,
}

/// Says that somebody works with a folder, for as long as the process has it: the kernel takes it back from one that is
/// killed.
#[derive(Debug)]
pub struct Claim(#[allow(dead_code, reason = "what is open is locked")] File);

/// The folder that holds the journal of one node.
#[derive(Debug, Clone)]
pub struct StateDir {
    folder: PathBuf,
    node: NodeName,
}

impl StateDir {
    /// Opens the folder; makes it, for the owner only, if it is missing.
    ///
    /// # Errors
    /// When it can neither be found nor made, or is open to others: what they put there would be applied.
    pub fn open(folder: &Path, node: &NodeName) -> Result<Self, StateError> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Self::at(folder, node)
    }

    /// The folder as it is, of whichever node what is in it is; `None` if nothing was saved there.
    ///
    /// # Errors
    /// When it is open to others, or what is there is not what an agent wrote.
    pub fn found(folder: &Path) -> Result<Option<Self>, StateError> {
        match folder.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
            Ok(metadata) if is_exposed(&metadata) => return Err(StateError::Exposed(folder.to_owned())),
            Ok(_) => {}
        }
        let Some(bytes) = read(&folder.join(FILE), FILE_LENGTH)? else { return Ok(None) };
        let (owner, ..) = record::read_full(&bytes).map_err(|_| StateError::Changed)?;
        Self::at(folder, &owner).map(Some)
    }

    fn at(folder: &Path, node: &NodeName) -> Result<Self, StateError> {
        if is_exposed(&folder.metadata()?) {
            return Err(StateError::Exposed(folder.to_owned()));
        }
        Ok(Self { folder: folder.to_owned(), node: node.clone() })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Whose it is.
    #[must_use]
    pub const fn node(&self) -> &NodeName {
        &self.node
    }

    /// What was saved, if anything was. A file that is refused is renamed, and never looked at again; deltas that
    /// cannot be read are left out, with all that came after them.
    ///
    /// # Errors
    /// Why it is not to be applied.
    pub fn load(&self) -> Result<Option<SavedJournal>, StateError> {
        self.look().inspect_err(|error| {
            if !matches!(error, StateError::Io(_)) {
                // On a disk that cannot be written, the next start refuses it again.
                let _ = rename(self.folder.join(FILE), self.folder.join(REFUSED));
            }
        })
    }

    /// The same, and everything stays as it is.
    ///
    /// # Errors
    /// As [`StateDir::load`].
    pub fn look(&self) -> Result<Option<SavedJournal>, StateError> {
        let Some((full, mut seal, mut costs)) = self.load_full(&self.folder.join(FILE))? else {
            return Ok(None);
        };
        let mut journal = Journal::new(full);
        let mut rest = self.deltas();
        while let Ok((delta, next, end)) = record::read_delta(&rest, seal) {
            // On top of all before it: each may be within bounds that they exceed together.
            let Ok(after) = guard::check(&costs, delta.script.bytes()) else { break };
            if journal.push(delta).is_err() {
                break;
            }
            costs = after;
            seal = next;
            rest = rest.slice(end..);
        }
        let end = Tail::of(&journal, &rest);
        if end == Tail::Torn {
            warn!(
                bytes = rest.len(),
                "the end of the saved deltas is not what this agent wrote, and is left out"
            );
        }
        Ok(Some(SavedJournal { journal, seal, end }))
    }

    fn load_full(&self, path: &Path) -> Result<Option<(JournalEntry, ScriptHash, Costs)>, StateError> {
        let Some(bytes) = read(path, FILE_LENGTH)? else { return Ok(None) };
        let (owner, full, seal) = record::read_full(&bytes).map_err(|_| StateError::Changed)?;
        if owner != self.node {
            return Err(StateError::Foreign(owner));
        }
        let costs = guard::check(&Costs::default(), full.script.bytes())?;
        Ok(Some((full, seal, costs)))
    }

    /// All that is in the file of the deltas; nothing, if it is not to be trusted.
    fn deltas(&self) -> Bytes {
        let path = self.folder.join(DELTAS);
        read(&path, FILE_LENGTH)
            .unwrap_or_else(|error| {
                warn!(path = %path.display(), %error, "the saved deltas were refused");
                None
            })
            .unwrap_or_default()
    }

    /// Saves a journal, given what is on disk as far as that is known: adds the deltas that are missing, or else
    /// replaces everything. After a crash at any point, what is on disk is the beginning of this journal, or what was
    /// there before.
    ///
    /// # Errors
    /// When the disk does not take it. It is not known then what is there.
    pub fn store(&self, journal: &Journal, on_disk: Option<SavedJournal>) -> io::Result<SavedJournal> {
        let saved = match on_disk {
            // Behind a torn end, nothing that is added would ever be read.
            Some(saved) if saved.end == Tail::Clean && journal.since(&saved.journal).is_some() => saved,
            _ => self.replace(journal.full())?,
        };
        self.extend(journal, saved)
    }

    fn replace(&self, full: &JournalEntry) -> io::Result<SavedJournal> {
        let header = record::full(full, &self.node);
        let temporary = self.folder.join(TEMPORARY);
        // The bytes first, then the name, then the folder that holds the name: a crash leaves the old file or the new
        // one, whole. The deltas stay: without the full script that their seals continue nobody takes them for its own.
        let mut file = fresh(&temporary)?;
        file.write_all(header.text.as_bytes())?;
        file.write_all(full.script.bytes())?;
        file.sync_all()?;
        rename(temporary, self.folder.join(FILE))?;
        File::open(&self.folder)?.sync_all()?;
        Ok(SavedJournal { journal: Journal::new(full.clone()), seal: header.seal, end: Tail::Clean })
    }

    fn extend(&self, journal: &Journal, saved: SavedJournal) -> io::Result<SavedJournal> {
        let Some(more @ [_, ..]) = journal.since(&saved.journal) else { return Ok(saved) };
        let mut seal = saved.seal;
        let mut records = Vec::new();
        for delta in more {
            let header = record::delta(delta, seal);
            records.extend_from_slice(header.text.as_bytes());
            records.extend_from_slice(delta.script.bytes());
            seal = header.seal;
        }
        // The first delta of a full script takes the place of those of the one before it.
        let is_first = saved.journal.deltas().is_empty();
        let path = self.folder.join(DELTAS);
        let mut file = if is_first { fresh(&path)? } else { appended(&path)? };
        file.write_all(&records)?;
        // With its length. Only a new name needs the folder as well.
        file.sync_data()?;
        if is_first {
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(SavedJournal { journal: journal.clone(), seal, end: Tail::Clean })
    }
}

/// Says that somebody works with a folder; `None` if somebody else does who may not be there at the same time.
///
/// # Errors
/// When the system refuses; [`io::ErrorKind::NotFound`] if there is no such folder.
pub fn claim(folder: &Path, share: Share) -> io::Result<Option<Claim>> {
    // The folder itself is locked: no file has to be made for it, and none can be left over.
    let folder = File::open(folder)?;
    let how = match share {
        Share::WithAgents => FlockOperation::NonBlockingLockShared,
        Share::Alone => FlockOperation::NonBlockingLockExclusive,
    };
    match flock(&folder, how) {
        Ok(()) => Ok(Some(Claim(folder))),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A new file for this user only, in the place of whatever has its name.
pub(crate) fn fresh(path: &Path) -> io::Result<File> {
    match remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // What somebody has put there since, a link too, makes this fail.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a file for this user only, to add to it; makes it if it is missing.
fn appended(path: &Path) -> io::Result<File> {
    let mut how = OpenOptions::new();
    let file = how.append(true).create(true).mode(0o600).custom_flags(CAREFUL).open(path)?;
    let metadata = file.metadata()?;
    // Of more than one name, it is perhaps another file's.
    if !metadata.is_file() || metadata.nlink() != 1 {
        return Err(io::Error::other(format!("{} is no file of its own", path.display())));
    }
    // The mode above is only for a file that was not there.
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Removes what agents left in the folder, of whichever node; the paths of what was there.
///
/// # Errors
/// When something of it cannot be removed.
pub fn remove(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for name in [FILE, DELTAS, TEMPORARY, REFUSED, saved::FILE, saved::TEMPORARY] {
        let path = folder.join(name);
        match remove_file(&path) {
            Ok(()) => removed.push(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // A loss of power could else bring the names back, and a ruleset that nobody wants any more.
    if !removed.is_empty() {
        File::open(folder)?.sync_all()?;
    }
    Ok(removed)
}

/// Returns true if a ruleset is kept in a folder; whether it can be used is not asked.
pub(crate) fn keeps(folder: &Path) -> bool {
    folder.join(FILE).is_file()
}

/// Returns true if others than this process's user may write.
pub(crate) fn is_exposed(metadata: &Metadata) -> bool {
    metadata.mode() & WRITABLE_BY_OTHERS != 0 || metadata.uid() != geteuid().as_raw()
}

/// All of a file, if it is there and has at most so many bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Bytes>, StateError> {
    let mut how = OpenOptions::new();
    let file = match how.read(true).custom_flags(CAREFUL).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Of what was opened, not of the path, which may lead elsewhere by now.
    let metadata = file.metadata()?;
    if is_exposed(&metadata) {
        return Err(StateError::Exposed(path.to_owned()));
    }
    if !metadata.is_file() || metadata.len() > limit {
        return Err(StateError::Size);
    }
    let mut bytes = Vec::new();
    // It may have grown since its length was looked at.
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(Some(bytes.into()))
}

/// Keeps the newest of the journals that come, until none can come any more; `on_disk`: what is there as far as it is
/// known. A disk that does not take one is reported; enforcing does not depend on it.
pub async fn keep(
    dir: Option<StateDir>,
    mut on_disk: Option<SavedJournal>,
    mut journals: watch::Receiver<Option<Journal>>,
) {
    while journals.changed().await.is_ok() {
        let journal = journals.borrow_and_update().clone();
        let (Some(dir), Some(journal)) = (dir.clone(), journal) else {
            continue;
        };
        let revision = journal.last().revision.clone();
        // If this fails, it is not known what is there: the next journal replaces everything.
        let before = on_disk.take();
        // Off the loop: a slow disk must not hold up nft or the stream.
        match tokio::task::spawn_blocking(move || dir.store(&journal, before)).await {
            Ok(Ok(saved)) => {
                debug!(%revision, "saved");
                on_disk = Some(saved);
            }
            Ok(Err(error)) => warn!(%revision, %error, "the ruleset could not be saved"),
            Err(error) => warn!(%revision, %error, "saving the ruleset ended unexpectedly"),
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
