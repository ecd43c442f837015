//! The folder of the programs on the host, and the list of what was put there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, remove_dir, remove_file};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::gather::{Gathered, read};
use super::{BootError, failed, put};
use crate::install::file;

/// The folders in it.
pub(super) const PROGRAMS: &str = "bin";
pub(super) const LIBRARIES: &str = "lib";
/// What was put there, a line each.
const LIST: &str = "installed";
/// Far longer than any such list.
const LONGEST_LIST: u64 = 64 << 10;
/// Loaders are run, too, and so may libraries be.
const MODE: u32 = 0o755;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The folder.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(super) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Puts programs and libraries there, and removes what was put there before and is no part of that.
    pub(super) fn fill(&self, programs: &[(&str, Gathered)]) -> Result<(), BootError> {
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut origins: BTreeMap<&str, PathBuf> = BTreeMap::new();
        for (name, path) in programs.iter().flat_map(|(_, gathered)| &gathered.libraries) {
            // Two paths to one library are no contradiction.
            let origin = path.canonicalize().map_err(failed(path.clone()))?;
            match origins.get(name.as_str()) {
                Some(other) if *other != origin => return Err(BootError::Ambiguous(name.clone())),
                Some(_) => continue,
                None => {}
            }
            files.insert(format!("{LIBRARIES}/{name}"), read(&origin)?);
            origins.insert(name, origin);
        }
        for (name, gathered) in programs {
            files.insert(format!("{PROGRAMS}/{name}"), gathered.bytes.clone());
        }
        for folder in [self.root.clone(), self.root.join(LIBRARIES), self.root.join(PROGRAMS)] {
            make(&folder)?;
        }
        let wanted: BTreeSet<String> = files.keys().cloned().collect();
        let earlier = self.list()?;
        // A crash on the way leaves nothing that nobody knows of.
        self.write_list(&wanted.union(&earlier).cloned().collect())?;
        for (name, bytes) in &files {
            self.write(name, bytes, MODE)?;
        }
        for name in earlier.difference(&wanted) {
            self.remove(name)?;
        }
        self.write_list(&wanted)
    }

    /// Removes what was put there, and the folders that are empty then; what was removed.
    pub(super) fn clear(&self) -> Result<Vec<PathBuf>, BootError> {
        let mut removed = Vec::new();
        for name in self.list()? {
            removed.extend(self.remove(&name)?);
        }
        removed.extend(self.remove(LIST)?);
        for folder in [self.root.join(LIBRARIES), self.root.join(PROGRAMS), self.root.clone()] {
            // Something of somebody else may be in it, or it is where a container sees a part of the host.
            let _ = remove_dir(folder);
        }
        Ok(removed)
    }

    fn list(&self) -> Result<BTreeSet<String>, BootError> {
        let path = self.root.join(LIST);
        let bytes = match file::read(&path, LONGEST_LIST) {
            Ok((bytes, _)) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(why) => return Err(BootError::File { path, why }),
        };
        let text = String::from_utf8_lossy(&bytes);
        // Whatever else stands there, nothing outside of the two folders is meant.
        let is_ours = |name: &&str| {
            let file = name.strip_prefix(PROGRAMS).or(name.strip_prefix(LIBRARIES));
            file.and_then(|file| file.strip_prefix('/'))
                .is_some_and(|file| !file.is_empty() && !file.contains('/') && file != "..")
        };
        Ok(text.lines().filter(is_ours).map(str::to_owned).collect())
    }

    fn write_list(&self, names: &BTreeSet<String>) -> Result<(), BootError> {
        let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
        self.write(LIST, lines.as_bytes(), 0o644)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), BootError> {
        let path = self.root.join(name);
        let is_same = file::read(&path, bytes.len() as u64)
            .is_ok_and(|(there, metadata)| there == bytes && metadata.mode() & 0o7777 == mode);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Ok(());
        };
        if is_same {
            return Ok(());
        }
        put(folder, name, bytes, mode)
    }

    fn remove(&self, name: &str) -> Result<Option<PathBuf>, BootError> {
        let path = self.root.join(name);
        match remove_file(&path) {
            Ok(()) => Ok(Some(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(path)(error)),
        }
    }
}

/// A folder that nobody else may write to: root runs what is in it.
fn make(folder: &Path) -> Result<(), BootError> {
    DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed(folder.to_owned()))?;
    let metadata = folder.symlink_metadata().map_err(failed(folder.to_owned()))?;
    let is_own = metadata.is_dir() && metadata.uid() == geteuid().as_raw();
    if is_own && metadata.mode() & WRITABLE_BY_OTHERS == 0 {
        Ok(())
    } else {
        Err(BootError::Exposed(folder.to_owned()))
    }
}
