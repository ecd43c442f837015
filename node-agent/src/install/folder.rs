//! The folder of configurations: what is in it, and edits of it.

use std::collections::BTreeMap;
use std::fs::read_dir;
use std::io;
use std::path::PathBuf;

use super::file::{self, Like};
use super::select::{Edit, File, Kind, is_configuration};

/// Far longer than any configuration.
const LONGEST: u64 = 1 << 20;
/// What a new list may be used by: what it was made from may hold secrets.
const MODE: u32 = 0o600;

/// What became of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It is as it was wanted.
    Edited,
    /// Somebody else changed the file meanwhile.
    Overtaken,
}

/// The folder of configurations.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder of this path.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Its path.
    #[must_use]
    pub const fn path(&self) -> &PathBuf {
        &self.path
    }

    /// The configurations in it by name. One that cannot be read is one without text, which is left alone.
    ///
    /// # Errors
    /// When the folder cannot be read; one that is not there has none.
    pub fn files(&self) -> io::Result<BTreeMap<String, File>> {
        let entries = match read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries?,
        };
        let mut files = BTreeMap::new();
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type()?;
            if !is_configuration(&name) || kind.is_dir() {
                continue;
            }
            // Empty where it cannot be read, which is then told as a configuration that cannot be used.
            let text = self.text(&name).unwrap_or_default();
            let kind = if kind.is_symlink() { Kind::Link } else { Kind::Plain };
            files.insert(name, File { text, kind });
        }
        Ok(files)
    }

    fn text(&self, name: &str) -> io::Result<String> {
        let (bytes, _) = file::read(&self.path.join(name), LONGEST)?;
        String::from_utf8(bytes).map_err(io::Error::other)
    }

    /// Carries out an edit of a file that had this text, if it still has it.
    ///
    /// # Errors
    /// When the system refuses; nothing is changed then.
    pub fn edit(&self, name: &str, former: Option<&File>, edit: &Edit) -> io::Result<Done> {
        let text = match edit {
            Edit::Write(text) => text,
            Edit::Remove => return file::remove(&self.path, name).map(|()| Done::Edited),
        };
        let path = self.path.join(name);
        let metadata = former.map(|_| path.symlink_metadata()).transpose()?;
        let like = metadata.as_ref().map_or(Like::Mode(MODE), Like::Former);
        let is_due = || match former {
            // Who writes at the same time would lose it.
            Some(former) => Ok(self.text(name).is_ok_and(|text| text == former.text)),
            None => Ok(path.symlink_metadata().is_err()),
        };
        let is_done = file::replace(&self.path, name, text.as_bytes(), like, is_due)?;
        Ok(if is_done { Done::Edited } else { Done::Overtaken })
    }
}
