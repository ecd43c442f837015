//! Replaces a file in one step: whoever reads it finds the old or the new one whole, also after a crash.
//!
//! The new one is made in the same folder. That is more than what makes the step one: containerd takes no notice of a file
//! that comes from elsewhere, but of one that goes by a name (`fsnotify`'s rename), and reads the folder again then.
//!
//! Two may be at it at the same time, as while a `DaemonSet` is updated. Only one of them writes the new file: whoever has the
//! lock on it, which the kernel takes back from a process that is killed.

use std::fs::{File, Metadata, OpenOptions, Permissions, remove_file, rename};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, XattrFlags, flock, fsetxattr, lgetxattr};
use rustix::io::Errno;

const NOT_FOLLOWED: i32 = OFlags::NOFOLLOW.bits().cast_signed();
const NONBLOCK: i32 = OFlags::NONBLOCK.bits().cast_signed();

/// The extended attribute that is SELinux's label of a file, and the longest one.
const LABEL: &str = "security.selinux";
const LONGEST_LABEL: usize = 1024;

/// Whose a new file is, and who may use it.
#[derive(Debug, Clone, Copy)]
pub enum Like<'a> {
    /// As the one that it replaces.
    Former(&'a Metadata),
    /// This process's user's, with this mode.
    Mode(u32),
}

/// Puts these bytes under a name of a folder, unless `is_due` says in the last moment that they are not wanted, or somebody
/// else is putting others there. Returns true if they are there.
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
    let Some(claim) = claim(&temporary)? else { return Ok(false) };
    let made = make(&temporary, &claim, bytes, like, &folder.join(name)).and_then(|()| is_due());
    if !matches!(made, Ok(true)) {
        // What a crash leaves is written over by the next.
        let _ = remove_file(&temporary);
        return made;
    }
    rename(&temporary, folder.join(name))?;
    sync(folder)?;
    Ok(true)
}

/// The new file, which is this process's alone for as long as it has this; nothing where it is another's. It is open for
/// reading only: what is open for writing cannot be run, and a plugin may be called at any moment.
fn claim(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        // Left by a crash, or another's.
        made => drop(made),
    }
    let opened = OpenOptions::new().read(true).custom_flags(NOT_FOLLOWED | NONBLOCK).open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    // Whoever had it before may have put it in its place meanwhile.
    let is_there =
        path.symlink_metadata().is_ok_and(|there| file.metadata().is_ok_and(|own| is_same(&there, &own)));
    Ok(is_there.then_some(file))
}

/// Returns true if both are one file, which has no other name.
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    let place = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    place(one) == place(other) && one.is_file() && one.nlink() == 1
}

fn make(path: &Path, claim: &File, bytes: &[u8], like: Like<'_>, former: &Path) -> io::Result<()> {
    let how = OpenOptions::new().write(true).custom_flags(NOT_FOLLOWED | NONBLOCK).open(path);
    let mut file = how?;
    // Where others may write to the folder, it may be somebody else's file by now.
    if !is_same(&file.metadata()?, &claim.metadata()?) {
        return Err(io::Error::other("somebody else put another file in the place of the new one"));
    }
    // What a crash has left there may be longer.
    file.set_len(0)?;
    file.write_all(bytes)?;
    let mode = match like {
        Like::Mode(mode) => mode,
        Like::Former(metadata) => {
            let own = file.metadata()?;
            if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
                fchown(&file, Some(metadata.uid()), Some(metadata.gid()))?;
            }
            label_like(&file, former);
            metadata.mode() & 0o7777
        }
    };
    // After the owner, whose change takes away bits of the mode.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Gives a file the SELinux label of another, where that has one. A system that has none, or does not allow it, labels files
/// as it does those of everybody who makes one in this folder.
fn label_like(file: &File, former: &Path) {
    let mut label = [0; LONGEST_LABEL];
    let read = lgetxattr(former, LABEL, &mut label[..]);
    if let Some(label) = read.ok().and_then(|length| label.get(..length)) {
        let _ = fsetxattr(file, LABEL, label, XattrFlags::empty());
    }
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
    // Links are followed, as runtimes do. A pipe must not hold this up.
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > longest {
        return Err(io::Error::other("it is no file of the size that it should have"));
    }
    let mut bytes = Vec::new();
    file.take(longest).read_to_end(&mut bytes)?;
    Ok((bytes, metadata))
}

#[cfg(test)]
mod tests {
    use std::thread::{scope, sleep};
    use std::time::Duration;

    use super::*;

    const LENGTH: usize = 64 << 10;
    const PAUSE: Duration = Duration::from_micros(200);
    const PATIENCE: usize = 100_000;

    #[test]
    fn two_that_replace_a_file_at_once_never_leave_half_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let put = |letter: u8| {
            let bytes = vec![letter; LENGTH];
            replace(folder.path(), "10-a.conflist", &bytes, Like::Mode(0o600), || Ok(true)).unwrap()
        };
        assert!(put(b'a'));
        // Who is refused because another is at it comes again: how often that is depends on the disk. If nobody could write
        // any more, they would give up.
        let write = |letter: u8| {
            let is_written = || {
                (0..PATIENCE).any(|_| {
                    put(letter) || {
                        sleep(PAUSE);
                        false
                    }
                })
            };
            (0..25).all(|_| is_written())
        };
        scope(|scope| {
            let writers: Vec<_> = (b'a'..=b'd').map(|letter| scope.spawn(move || write(letter))).collect();
            while writers.iter().any(|writer| !writer.is_finished()) {
                let (bytes, _) = read(&folder.path().join("10-a.conflist"), 1 << 20).unwrap();
                assert_eq!(bytes, vec![bytes[0]; LENGTH], "half of one");
            }
            let all = writers.into_iter().all(|writer| writer.join().unwrap());
            assert!(all, "somebody is always the one who writes");
        });
        assert!(put(b'e'), "what somebody else has begun is nobody's any more");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_crash_left_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(".a.flock-new");
        std::fs::write(&left, "much longer than what is to come").unwrap();
        assert!(replace(folder.path(), "a", b"new", Like::Mode(0o640), || Ok(true)).unwrap());
        let (bytes, metadata) = read(&folder.path().join("a"), 100).unwrap();
        assert_eq!((bytes, metadata.mode() & 0o7777), (b"new".to_vec(), 0o640));
        // Somebody is at it, who may be slow.
        let claimed = claim(&left).unwrap();
        assert!(claimed.is_some());
        assert!(!replace(folder.path(), "a", b"newer", Like::Mode(0o640), || Ok(true)).unwrap());
        drop(claimed);
        assert!(replace(folder.path(), "a", b"newer", Like::Mode(0o640), || Ok(true)).unwrap());
    }

    /// Some installers give the folder of configurations to a user of their own.
    #[test]
    fn nothing_is_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        std::fs::write(&other, "somebody's").unwrap();
        let new = folder.path().join(".a.flock-new");
        type Link = fn(PathBuf, PathBuf) -> io::Result<()>;
        for link in [std::os::unix::fs::symlink as Link, std::fs::hard_link as Link] {
            link(other.clone(), new.clone()).unwrap();
            let replaced = replace(folder.path(), "a", b"new", Like::Mode(0o644), || Ok(true));
            assert!(!matches!(replaced, Ok(true)));
            remove_file(&new).unwrap();
        }
        // Once it is this process's own.
        let claimed = claim(&new).unwrap().unwrap();
        remove_file(&new).unwrap();
        std::fs::hard_link(&other, &new).unwrap();
        assert!(make(&new, &claimed, b"new", Like::Mode(0o644), &folder.path().join("a")).is_err());
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "somebody's");
    }

    #[test]
    fn a_label_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "old").unwrap();
        let label = b"system_u:object_r:etc_t:s0\0";
        if rustix::fs::setxattr(&path, LABEL, label, XattrFlags::empty()).is_err() {
            println!("skipped: needs root and a file system with labels");
            return;
        }
        let metadata = path.metadata().unwrap();
        assert!(replace(folder.path(), "a", b"new", Like::Former(&metadata), || Ok(true)).unwrap());
        let mut found = [0; 64];
        let length = lgetxattr(&path, LABEL, &mut found[..]).unwrap();
        assert_eq!(&found[..length], label);
    }
}
