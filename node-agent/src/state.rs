//! The newest full ruleset on disk, so that a node that boots without a compiler is not without policy.
//!
//! One file: a header, an empty line, the script. The header names the node and the revision, holds the
//! script's SHA-256, and ends with the SHA-256 of itself. Anything else is set aside and never applied.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, remove_file, rename};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flock_proto::MAX_MESSAGE_BYTES;
use flock_shared::{NodeName, Revision, Script, ScriptHash};
use rustix::process::geteuid;
use tokio::sync::watch;
use tracing::{debug, warn};

const FORMAT: &str = "flock-netpol ruleset 1";
const FILE: &str = "ruleset";
const TEMPORARY: &str = "ruleset.new";
const REFUSED: &str = "ruleset.refused";
/// No header is longer.
const HEADER_LENGTH: usize = 1024;
/// No file is longer.
const FILE_LENGTH: u64 = (MAX_MESSAGE_BYTES + HEADER_LENGTH) as u64;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A full ruleset and the state that it reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The state.
    pub revision: Revision,
    /// The full script.
    pub script: Script,
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
    /// It is no regular file, or larger than any ruleset.
    #[error("it is not a file of a ruleset's size")]
    Size,
    /// Something else wrote it, or it changed since.
    #[error("it is not what this agent wrote")]
    Changed,
    /// It is another node's.
    #[error("it is the ruleset of node {0}")]
    Foreign(NodeName),
}

/// The folder that holds the newest full ruleset of one node.
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

    /// The saved ruleset, if there is one. A file that is refused is renamed, and never looked at again.
    ///
    /// # Errors
    /// Why it is not to be applied.
    pub fn load(&self) -> Result<Option<Saved>, StateError> {
        let path = self.folder.join(FILE);
        let loaded = match File::open(&path) {
            Ok(file) => read(&file, &path).and_then(|bytes| decode(bytes, &self.node)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error.into()),
        };
        match loaded {
            Ok(saved) => Ok(Some(saved)),
            Err(StateError::Io(error)) => Err(error.into()),
            Err(refusal) => {
                // On a disk that cannot be written, the next start refuses it again.
                let _ = rename(path, self.folder.join(REFUSED));
                Err(refusal)
            }
        }
    }

    /// Replaces the saved ruleset: after a crash at any point, the file is the old one or the new one, whole.
    ///
    /// # Errors
    /// When the disk does not take it; the old one stays.
    pub fn store(&self, saved: &Saved) -> io::Result<()> {
        let temporary = self.folder.join(TEMPORARY);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        // The mode above is only for a file that was not there.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(header(saved, &self.node).as_bytes())?;
        file.write_all(saved.script.bytes())?;
        file.sync_all()?;
        rename(temporary, self.folder.join(FILE))?;
        File::open(&self.folder)?.sync_all()
    }
}

/// Removes what agents left in the folder, of whichever node; the paths of what was there.
///
/// # Errors
/// When something of it cannot be removed.
pub fn remove(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for name in [FILE, TEMPORARY, REFUSED] {
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

fn read(file: &File, path: &Path) -> Result<Vec<u8>, StateError> {
    let metadata = file.metadata()?;
    if is_exposed(&metadata) {
        return Err(StateError::Exposed(path.to_owned()));
    }
    if !metadata.is_file() || metadata.len() > FILE_LENGTH {
        return Err(StateError::Size);
    }
    let mut bytes = Vec::new();
    file.take(FILE_LENGTH).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn header(saved: &Saved, node: &NodeName) -> String {
    let Saved { revision, script } = saved;
    let fields = format!("{FORMAT}\nnode {node}\nrevision {revision}\nsha256 {}\n", script.hash());
    let seal = ScriptHash::of(fields.as_bytes());
    format!("{fields}seal {seal}\n\n")
}

/// Splits a header from its script, writes the header that would belong to both, and compares.
fn decode(bytes: Vec<u8>, node: &NodeName) -> Result<Saved, StateError> {
    let bytes = Bytes::from(bytes);
    let end =
        bytes.windows(2).take(HEADER_LENGTH).position(|pair| pair == b"\n\n").ok_or(StateError::Changed)? + 2;
    let found = std::str::from_utf8(&bytes[..end]).map_err(|_| StateError::Changed)?;
    let field =
        |name: &str| found.lines().find_map(|line| line.strip_prefix(name)).ok_or(StateError::Changed);
    let revision = field("revision ")?.parse().map_err(|_| StateError::Changed)?;
    let owner = NodeName::new(field("node ")?).map_err(|_| StateError::Changed)?;
    let saved = Saved { revision, script: Script::new(bytes.slice(end..)) };
    if found != header(&saved, &owner) {
        return Err(StateError::Changed);
    }
    if owner != *node {
        return Err(StateError::Foreign(owner));
    }
    Ok(saved)
}

/// Keeps the newest of the rulesets that come, until none can come any more. A disk that does not take one is
/// reported; enforcing does not depend on it.
pub async fn keep(dir: Option<StateDir>, mut rulesets: watch::Receiver<Option<Saved>>) {
    while rulesets.changed().await.is_ok() {
        let saved = rulesets.borrow_and_update().clone();
        let (Some(dir), Some(saved)) = (dir.clone(), saved) else {
            continue;
        };
        let revision = saved.revision.clone();
        // Off the loop: a slow disk must not hold up nft or the stream.
        match tokio::task::spawn_blocking(move || dir.store(&saved)).await {
            Ok(Ok(())) => debug!(%revision, "saved the ruleset"),
            Ok(Err(error)) => warn!(%revision, %error, "the ruleset could not be saved"),
            Err(error) => warn!(%revision, %error, "saving the ruleset ended unexpectedly"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        let script = Script::new("add table inet t\n\n\nadd table inet u\n");
        Saved { revision: Revision::of(ScriptHash::of(b"a")), script }
    }

    fn node() -> NodeName {
        NodeName::new("n1").unwrap()
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o777
    }

    #[test]
    fn what_was_stored_is_loaded() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        let dir = StateDir::open(&folder, &node()).unwrap();
        assert_eq!(dir.load().unwrap(), None);
        for _ in 0..2 {
            dir.store(&saved()).unwrap();
            assert_eq!(dir.load().unwrap(), Some(saved()));
        }
        assert_eq!((mode(&folder), mode(&folder.join(FILE))), (0o700, 0o600));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let mut whole = header(&saved(), &node()).into_bytes();
        whole.extend_from_slice(saved().script.bytes());
        assert_eq!(decode(whole.clone(), &node()).unwrap(), saved());
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            assert!(decode(changed, &node()).is_err(), "byte {place}");
            assert!(decode(whole[..place].to_vec(), &node()).is_err(), "{place} bytes");
        }
    }

    #[test]
    fn a_refused_file_is_set_aside() {
        let parent = tempfile::tempdir().unwrap();
        let dir = StateDir::open(parent.path(), &node()).unwrap();
        dir.store(&saved()).unwrap();
        let other = StateDir::open(parent.path(), &NodeName::new("n2").unwrap()).unwrap();
        assert!(matches!(other.load(), Err(StateError::Foreign(owner)) if owner == node()));
        assert!(parent.path().join(REFUSED).exists());
        assert_eq!(other.load().unwrap(), None);
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let dir = StateDir::open(parent.path(), &node()).unwrap();
        dir.store(&saved()).unwrap();
        std::fs::set_permissions(parent.path().join(FILE), Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(dir.load(), Err(StateError::Exposed(_))));
        std::fs::set_permissions(parent.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(StateDir::open(parent.path(), &node()), Err(StateError::Exposed(_))));
    }

    #[test]
    fn all_that_an_agent_left_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("state");
        assert_eq!(remove(&folder).unwrap(), Vec::<PathBuf>::new());
        assert!(!folder.exists());
        let dir = StateDir::open(&folder, &node()).unwrap();
        dir.store(&saved()).unwrap();
        std::fs::write(folder.join(REFUSED), "").unwrap();
        assert_eq!(remove(&folder).unwrap(), [folder.join(FILE), folder.join(REFUSED)]);
        assert_eq!((dir.load().unwrap(), remove(&folder).unwrap()), (None, Vec::new()));
    }

    #[test]
    fn a_disk_that_takes_nothing_keeps_the_old_ruleset() {
        let parent = tempfile::tempdir().unwrap();
        let dir = StateDir::open(parent.path(), &node()).unwrap();
        dir.store(&saved()).unwrap();
        std::fs::create_dir(parent.path().join(TEMPORARY)).unwrap();
        assert!(dir.store(&saved()).is_err());
        assert_eq!(dir.load().unwrap(), Some(saved()));
    }
}
