//! The plugin's binary in the runtime's folder of plugins.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use flock_shared::cni::PLUGIN;

use super::file::{self, Like};

const MODE: u32 = 0o755;
/// Far longer than any build of it.
const LONGEST: u64 = 256 << 20;
/// How much of a binary holds the name of what loads its libraries.
const HEAD: usize = 8192;

/// By what a file is seen to be the one that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            place: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            // Of its mode, too.
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The plugin's binary, here and in the runtime's folder of plugins.
#[derive(Debug)]
pub struct Binary {
    source: PathBuf,
    folder: PathBuf,
    seen: Option<Stamp>,
}

/// What was done about a binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// Nothing: it is the same.
    Same,
    /// Nothing: it is another one, which is to stay for a while.
    Left,
    /// It was copied.
    New,
    /// It was copied, and runs only where the host's C library is one that it can do with.
    Dynamic,
}

impl Binary {
    /// The binary at `source`, for this folder of plugins.
    #[must_use]
    pub const fn new(source: PathBuf, folder: PathBuf) -> Self {
        Self { source, folder, seen: None }
    }

    /// Where the runtime finds it.
    #[must_use]
    pub fn target(&self) -> PathBuf {
        self.folder.join(PLUGIN)
    }

    /// Returns true if there is one that can be run, whichever.
    #[must_use]
    pub fn is_runnable(&self) -> bool {
        self.target().symlink_metadata().is_ok_and(|there| can_run(&there))
    }

    /// Sees to it that it is in place. The folder is looked up anew each time: on some systems it is a link that changes
    /// with their version. Another binary that is there and can be run is replaced only if `is_turn` says so.
    ///
    /// # Errors
    /// When it cannot be read here or written there.
    pub fn ensure(&mut self, is_turn: impl FnOnce() -> bool) -> io::Result<Copied> {
        let there = self.target().symlink_metadata().ok();
        if there.as_ref().is_some_and(|there| Some(Stamp::of(there)) == self.seen) {
            return Ok(Copied::Same);
        }
        let (bytes, _) = file::read(&self.source, LONGEST).map_err(|error| about(&self.source, &error))?;
        if bytes.is_empty() {
            return Err(about(&self.source, &io::Error::other("it is empty")));
        }
        let is_runnable = there.as_ref().is_some_and(can_run);
        let is_same = there.as_ref().is_some_and(|there| there.is_file() && there.mode() & 0o7777 == MODE)
            && file::read(&self.target(), LONGEST).is_ok_and(|(there, _)| there == bytes);
        if !is_same {
            // One that cannot run would stop every pod, so it is replaced whoever else is at it.
            if is_runnable && !is_turn() {
                return Ok(Copied::Left);
            }
            let written = file::replace(&self.folder, PLUGIN, &bytes, Like::Mode(MODE), || Ok(true))
                .map_err(|error| about(&self.target(), &error))?;
            if !written {
                // Somebody else is putting one there, which the next look finds.
                let error = io::Error::from(io::ErrorKind::WouldBlock);
                return if is_runnable { Ok(Copied::Left) } else { Err(about(&self.target(), &error)) };
            }
        }
        // What was looked at before it was read is what was read, or the next look finds another one. What was written may have
        // been replaced at once.
        self.seen = there.as_ref().filter(|_| is_same).map(Stamp::of);
        Ok(match (is_same, is_dynamic(&bytes)) {
            (true, _) => Copied::Same,
            (false, false) => Copied::New,
            (false, true) => Copied::Dynamic,
        })
    }
}

fn can_run(there: &Metadata) -> bool {
    there.is_file() && there.mode() & 0o111 != 0
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Returns true if a binary names what is to load its libraries.
fn is_dynamic(bytes: &[u8]) -> bool {
    let head = bytes.get(..HEAD).unwrap_or(bytes);
    let has = |name: &[u8]| head.windows(name.len()).any(|window| window == name);
    has(b"\x7fELF") && (has(b"/ld-linux") || has(b"/ld-musl") || has(b"/ld64.so"))
}
