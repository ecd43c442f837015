//! Manifest files on disk: which there are, whether they changed, and reading one while it may be written.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of the largest manifest that is read. A listing of 20,000 pods has about 150 MB.
pub const LIMIT: u64 = 1 << 30;

/// What tells one content of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The manifests of a directory, and what tells their contents from others. No stamp: a link that leads nowhere.
pub type Scan = BTreeMap<PathBuf, Option<FileStamp>>;

/// The manifests at `path` in order of their names, as `kubectl -f` takes them: the file, or of a directory its
/// `*.yaml`, `*.yml` and `*.json` files that are not hidden.
///
/// # Errors
/// If `path` or the directory cannot be read; a file that cannot is one without a stamp.
pub fn list(path: &Path) -> io::Result<Scan> {
    let metadata = path.metadata()?;
    if !metadata.is_dir() {
        return Ok(BTreeMap::from([(path.to_owned(), Some(FileStamp::of(&metadata)))]));
    }
    let mut files = BTreeMap::new();
    for entry in path.read_dir()? {
        let entry = entry?;
        if !is_manifest(&entry.path()) {
            continue;
        }
        match entry.path().metadata() {
            Ok(metadata) if metadata.is_file() => {
                files.insert(entry.path(), Some(FileStamp::of(&metadata)));
            }
            // A directory, a pipe: not ours to read.
            Ok(_) => {}
            // Gone since it was listed, unless it is a link that leads nowhere.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && entry.path().symlink_metadata().is_err() => {}
            Err(_) => {
                files.insert(entry.path(), None);
            }
        }
    }
    Ok(files)
}

fn is_manifest(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// The content of a file; `None` if it is larger than [`LIMIT`].
///
/// # Errors
/// If reading fails.
pub fn read(reader: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    // A byte more tells too large from just large enough; standard input has no size to ask for.
    reader.take(LIMIT + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= LIMIT).then_some(bytes))
}

/// What reading a file that may be written meanwhile came to.
#[derive(Debug)]
pub enum Stable {
    /// The content that belongs to the stamp.
    Content(Vec<u8>),
    /// Larger than [`LIMIT`].
    TooLarge,
    /// It is not, or no longer, the file that the stamp was taken of.
    Changed,
}

/// Reads a file if it is the one that `stamp` was taken of, before and after.
///
/// # Errors
/// If the file cannot be opened or read.
pub fn read_stable(path: &Path, stamp: FileStamp) -> io::Result<Stable> {
    let file = File::open(path)?;
    let unchanged = |file: &File| Ok::<bool, io::Error>(FileStamp::of(&file.metadata()?) == stamp);
    // Asked of the open file: another one may have been renamed to its path since it was listed.
    if !unchanged(&file)? {
        return Ok(Stable::Changed);
    }
    let bytes = read(&file)?;
    // Whoever has written to it meanwhile has changed its times, so that no half of a manifest is taken for a whole.
    if !unchanged(&file)? {
        return Ok(Stable::Changed);
    }
    Ok(bytes.map_or(Stable::TooLarge, Stable::Content))
}
