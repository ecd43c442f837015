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
use rustix::fs::OFlags;
use rustix::process::geteuid;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::cni::saved;
use crate::guard::{self, Costs, Refused};
use crate::journal::{Entry, Journal};
use crate::record::{self, HEADER_LENGTH};

const FILE: &str = "ruleset";
const TEMPORARY: &str = "ruleset.new";
const REFUSED: &str = "ruleset.refused";
const DELTAS: &str = "ruleset.deltas";
/// No file is longer.
const FILE_LENGTH: u64 = (MAX_MESSAGE_BYTES + HEADER_LENGTH) as u64;
const WRITABLE_BY_OTHERS: u32 = 0o022;
const NONBLOCK: i32 = OFlags::NONBLOCK.bits().cast_signed();

/// A journal as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// What is there.
    pub journal: Journal,
    /// The seal of the last record.
    seal: ScriptHash,
    /// Whether the next delta can be added to it.
    end: End,
}

/// What comes after the last record of a journal on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing.
    Clean,
    /// Something that is no record of it.
    Torn,
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
    pub(crate) const fn node(&self) -> &NodeName {
        &self.node
    }

    /// What was saved, if anything was. A file that is refused is renamed, and never looked at again; deltas that
    /// cannot be read are left out, with all that came after them.
    ///
    /// # Errors
    /// Why it is not to be applied.
    pub fn load(&self) -> Result<Option<Saved>, StateError> {
        let path = self.folder.join(FILE);
        let (full, mut seal, mut costs) = match self.load_full(&path) {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return Ok(None),
            Err(StateError::Io(error)) => return Err(error.into()),
            Err(refusal) => {
                // On a disk that cannot be written, the next start refuses it again.
                let _ = rename(path, self.folder.join(REFUSED));
                return Err(refusal);
            }
        };
        let mut journal = Journal::new(full);
        let mut rest = self.deltas();
        while let Ok((delta, next, end)) = record::read_delta(&rest, seal) {
            let Ok(after) = guard::check(&costs, delta.script.bytes()) else { break };
            if journal.push(delta).is_err() {
                break;
            }
            costs = after;
            seal = next;
            rest = rest.slice(end..);
        }
        let end = if rest.is_empty() { End::Clean } else { End::Torn };
        if end == End::Torn {
            warn!(
                bytes = rest.len(),
                "the end of the saved deltas is not what this agent wrote, and is left out"
            );
        }
        Ok(Some(Saved { journal, seal, end }))
    }

    fn load_full(&self, path: &Path) -> Result<Option<(Entry, ScriptHash, Costs)>, StateError> {
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
    pub fn store(&self, journal: &Journal, on_disk: Option<Saved>) -> io::Result<Saved> {
        let saved = match on_disk {
            Some(saved) if saved.end == End::Clean && journal.since(&saved.journal).is_some() => saved,
            _ => self.replace(journal.full())?,
        };
        self.extend(journal, saved)
    }

    fn replace(&self, full: &Entry) -> io::Result<Saved> {
        let header = record::full(full, &self.node);
        let temporary = self.folder.join(TEMPORARY);
        let mut file = private(OpenOptions::new().write(true).truncate(true), &temporary)?;
        file.write_all(header.text.as_bytes())?;
        file.write_all(full.script.bytes())?;
        file.sync_all()?;
        rename(temporary, self.folder.join(FILE))?;
        File::open(&self.folder)?.sync_all()?;
        Ok(Saved { journal: Journal::new(full.clone()), seal: header.seal, end: End::Clean })
    }

    fn extend(&self, journal: &Journal, saved: Saved) -> io::Result<Saved> {
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
        let mut how = OpenOptions::new();
        let how = if is_first { how.write(true).truncate(true) } else { how.append(true) };
        let mut file = private(how, &self.folder.join(DELTAS))?;
        file.write_all(&records)?;
        file.sync_data()?;
        if is_first {
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(Saved { journal: journal.clone(), seal, end: End::Clean })
    }
}

/// Opens a file for this user only; makes it if it is missing.
pub(crate) fn private(how: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = how.create(true).mode(0o600).custom_flags(NONBLOCK).open(path)?;
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
    if !removed.is_empty() {
        File::open(folder)?.sync_all()?;
    }
    Ok(removed)
}

/// Whether others than this process's user may write.
fn is_exposed(metadata: &Metadata) -> bool {
    metadata.mode() & WRITABLE_BY_OTHERS != 0 || metadata.uid() != geteuid().as_raw()
}

/// All of a file, if it is there and has at most so many bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Bytes>, StateError> {
    // A pipe that somebody has put there is not waited for.
    let mut how = OpenOptions::new();
    let file = match how.read(true).custom_flags(NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if is_exposed(&metadata) {
        return Err(StateError::Exposed(path.to_owned()));
    }
    if !metadata.is_file() || metadata.len() > limit {
        return Err(StateError::Size);
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(Some(bytes.into()))
}

/// Keeps the newest of the journals that come, until none can come any more; `on_disk`: what is there as far as it is
/// known. A disk that does not take one is reported; enforcing does not depend on it.
pub async fn keep(
    dir: Option<StateDir>,
    mut on_disk: Option<Saved>,
    mut journals: watch::Receiver<Option<Journal>>,
) {
    while journals.changed().await.is_ok() {
        let journal = journals.borrow_and_update().clone();
        let (Some(dir), Some(journal)) = (dir.clone(), journal) else {
            continue;
        };
        let revision = journal.last().revision.clone();
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
