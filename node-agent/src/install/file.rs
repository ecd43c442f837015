//! Replaces a file in one step: whoever reads it finds the old or the new one whole, also after a crash.
//!
//! The new one is made in the same folder. That is more than what makes the step one: containerd takes no notice of a file
//! that comes from elsewhere, but of one that goes by a name (`fsnotify`'s rename), and reads the folder again then.

use std::fs::{File, Metadata, OpenOptions, Permissions, remove_file, rename};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

const NOT_FOLLOWED: i32 = OFlags::NOFOLLOW.bits().cast_signed();
const NONBLOCK: i32 = OFlags::NONBLOCK.bits().cast_signed();

/// Whose a new file is, and who may use it.
#[derive(Debug, Clone, Copy)]
pub enum Like<'a> {
    /// As the one that it replaces.
    Former(&'a Metadata),
    /// This process's user's, with this mode.
    Mode(u32),
}

/// Puts these bytes under a name of a folder, unless `is_due` says in the last moment that they are not wanted.
///
/// # Errors
/// When the system refuses; nothing is changed then.
pub fn replace(
    folder: &Path,
    name: &str,
    bytes: &[u8],
    like: Like<'_>,
    is_due: impl FnOnce() -> io::Result<bool>,
) -> io::Result<bool> {
    let temporary = folder.join(format!(".{name}.flock-new"));
    let made = make(&temporary, bytes, like).and_then(|()| is_due());
    if !matches!(made, Ok(true)) {
        // What a crash leaves is written over by the next.
        let _ = remove_file(&temporary);
        return made;
    }
    rename(&temporary, folder.join(name))?;
    sync(folder)?;
    Ok(true)
}

fn make(path: &Path, bytes: &[u8], like: Like<'_>) -> io::Result<()> {
    let mut how = OpenOptions::new();
    how.write(true).create(true).truncate(true).mode(0o600).custom_flags(NOT_FOLLOWED);
    let mut file = how.open(path)?;
    file.write_all(bytes)?;
    let mode = match like {
        Like::Mode(mode) => mode,
        Like::Former(former) => {
            let own = file.metadata()?;
            if (own.uid(), own.gid()) != (former.uid(), former.gid()) {
                fchown(&file, Some(former.uid()), Some(former.gid()))?;
            }
            former.mode() & 0o7777
        }
    };
    // After the owner, whose change takes away bits of the mode.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Removes a file, for good.
///
/// # Errors
/// When the system refuses.
pub fn remove(folder: &Path, name: &str) -> io::Result<()> {
    match remove_file(folder.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync(folder),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// All of a regular file that is not longer than this, and what it is; what is no regular file is not waited for.
///
/// # Errors
/// When the system refuses, or it is something else.
pub fn read(path: &PathBuf, longest: u64) -> io::Result<(Vec<u8>, Metadata)> {
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > longest {
        return Err(io::Error::other("it is no file of the size that it should have"));
    }
    let mut bytes = Vec::new();
    file.take(longest).read_to_end(&mut bytes)?;
    Ok((bytes, metadata))
}
