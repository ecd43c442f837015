//! The record of sandboxes on disk: one file in the state folder, replaced as a whole after each change.
//!
//! It is for an agent that is killed, not for a node that loses power: nothing in it outlives the kernel, whose boot it
//! names, so nothing is forced to the disk. A file that is not as an agent of this node wrote it is taken for an empty one.

use std::fs::{remove_file, rename};
use std::io::{self, Write as _};
use std::path::Path;

use flock_shared::{NodeName, ScriptHash};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::sandboxes::{KeptSandboxes, Sandboxes};
use crate::state::{StateDir, StateError, fresh, read};

/// The file, and the one that takes its place.
pub(crate) const FILE: &str = "sandboxes";
pub(crate) const TEMPORARY: &str = "sandboxes.new";
/// The first line, before the SHA-256 of all that follows it.
const HEAD: &str = "flock-netpol sandboxes 1 ";
/// No file is longer: a full record has a fifth of it.
const FILE_LENGTH: u64 = 2 << 20;
/// Changes with each start of the kernel.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// What is on disk.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedSandboxes {
    node: String,
    /// Which start of the kernel; empty if that cannot be known.
    boot: String,
    #[serde(flatten)]
    sandboxes: KeptSandboxes,
}

/// Where the record of sandboxes is kept.
#[derive(Debug, Clone)]
pub struct SandboxFile {
    folder: StateDir,
    boot: String,
}

impl SandboxFile {
    /// The file in a state folder.
    #[must_use]
    pub fn new(folder: StateDir) -> Self {
        let boot = std::fs::read_to_string(BOOT).unwrap_or_default();
        Self { folder, boot: boot.trim().to_owned() }
    }

    /// The record of sandboxes that an earlier agent kept; empty if there is none, or none to be trusted, which is told.
    #[must_use]
    pub fn load(&self) -> Sandboxes {
        let path = self.folder.path().join(FILE);
        match load(&path, self.folder.node()) {
            Ok(None) => Sandboxes::default(),
            // Where starts of the kernel are not known, links that are gone tell.
            Ok(Some(saved)) => Sandboxes::of(saved.sandboxes, saved.boot == self.boot),
            Err(error) => {
                warn!(path = %path.display(), %error, "the saved sandboxes were refused; the compiler knows them");
                Sandboxes::default()
            }
        }
    }

    /// Replaces what is there. After a kill at any point it is this, or what was there before.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn store(&self, sandboxes: KeptSandboxes) -> io::Result<()> {
        let (node, boot) = (self.folder.node().to_string(), self.boot.clone());
        let text = written(&SavedSandboxes { node, boot, sandboxes })?;
        let temporary = self.folder.path().join(TEMPORARY);
        let mut file = fresh(&temporary)?;
        // Without a sync: no sandbox outlives a loss of power, after which only their ends are told from it.
        let stored =
            file.write_all(text.as_bytes()).and_then(|()| rename(&temporary, self.folder.path().join(FILE)));
        // On a full disk the ruleset may need the room.
        stored.inspect_err(|_| drop(remove_file(&temporary)))
    }
}

fn written(saved: &SavedSandboxes) -> io::Result<String> {
    let body = serde_json::to_string(saved)?;
    Ok(format!("{HEAD}{}\n{body}", ScriptHash::of(body.as_bytes())))
}

fn load(path: &Path, node: &NodeName) -> Result<Option<SavedSandboxes>, StateError> {
    let Some(bytes) = read(path, FILE_LENGTH)? else { return Ok(None) };
    let saved = parsed(&bytes).ok_or(StateError::Changed)?;
    if saved.node == node.as_str() { Ok(Some(saved)) } else { Err(StateError::Changed) }
}

fn parsed(bytes: &[u8]) -> Option<SavedSandboxes> {
    let (hash, body) = std::str::from_utf8(bytes).ok()?.strip_prefix(HEAD)?.split_once('\n')?;
    (hash == ScriptHash::of(body.as_bytes()).to_string()).then(|| serde_json::from_str(body).ok())?
}

#[cfg(test)]
mod tests {
    use flock_shared::PodKey;
    use flock_shared::cni::{NetworkName, Sandbox, SandboxId};

    use super::*;
    use crate::cni::sandboxes::CallResult;

    fn sandboxes() -> Sandboxes {
        let mut sandboxes = Sandboxes::default();
        let sandbox = Sandbox {
            id: SandboxId::new("3fa9").unwrap(),
            pod: PodKey::new("shop", "web-0").unwrap(),
            uid: Some("0b1c".to_owned()),
            addresses: vec!["10.244.1.7".parse().unwrap(), "fd00::7".parse().unwrap()],
            interface: None,
        };
        let (pending, _) = sandboxes.add(sandbox, NetworkName::new("cbr0").ok());
        sandboxes.settle(&pending, CallResult::Done);
        let _ = sandboxes.delete(&SandboxId::new("77").unwrap());
        sandboxes
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let saved =
            || SavedSandboxes { node: "n1".to_owned(), boot: "b".to_owned(), sandboxes: sandboxes().kept() };
        let text = written(&saved()).unwrap();
        assert_eq!(parsed(text.as_bytes()), Some(saved()));
        for place in 0..text.len() {
            assert_eq!(parsed(&text.as_bytes()[..place]), None, "{place} bytes");
            let mut changed = text.clone().into_bytes();
            changed[place] ^= 1;
            assert_eq!(parsed(&changed), None, "byte {place}");
        }
    }

    #[test]
    fn a_file_without_networks_is_read() {
        let body = r#"{"node":"n1","boot":"b","sandboxes":[{"sandbox":{"id":"3fa9","namespace":"shop","name":"web-0","addresses":["10.244.1.7"]},"owed":false}],"gone":["77"]}"#;
        let saved = parsed(format!("{HEAD}{}\n{body}", ScriptHash::of(body.as_bytes())).as_bytes()).unwrap();
        assert_eq!(saved.sandboxes.sandboxes[0].network, None);
        assert_eq!(Sandboxes::of(saved.sandboxes, true).size(), (1, 1));
    }

    #[test]
    fn what_is_stored_is_loaded_and_another_start_of_the_kernel_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let open =
            |node: &str| SandboxFile::new(StateDir::open(folder.path(), &node.parse().unwrap()).unwrap());
        let file = open("n1");
        assert_eq!(file.load().size(), (0, 0));
        file.store(sandboxes().kept()).unwrap();
        assert_eq!(file.load().kept(), sandboxes().kept());
        assert_eq!(SandboxFile { boot: "another".to_owned(), ..file.clone() }.load().size(), (0, 2));
        assert_eq!(open("n2").load().size(), (0, 0), "another node's");
        std::fs::write(folder.path().join(FILE), "flock-netpol sandboxes 1 0\n{}").unwrap();
        assert_eq!(file.load().size(), (0, 0));
        // Nothing is written through a link.
        let other = folder.path().join("other");
        std::fs::write(&other, "somebody's").unwrap();
        std::os::unix::fs::symlink(&other, folder.path().join(TEMPORARY)).unwrap();
        file.store(sandboxes().kept()).unwrap();
        assert_eq!(file.load().size(), (1, 1));
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "somebody's");
    }
}
