//! Manifests as files: which there are, and their bytes.

use std::io;
use std::path::{Path, PathBuf};

use flock_convert::manifests::files;
use flock_proto::{MAX_MESSAGE_BYTES, v1};

use crate::failure::Failure;

/// Room that a request leaves beside its manifests.
const ROOM: usize = 1 << 20;

/// Reads files, the manifests of folders, or standard input (`-`), in order; each once.
///
/// # Errors
/// If one cannot be read, or a folder holds no manifest.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<v1::Manifest>, Failure> {
    let mut all: Vec<v1::Manifest> = Vec::new();
    for path in paths {
        let failed = |error: io::Error| Failure::question(format!("{}: {error}", path.display()));
        if path == Path::new("-") {
            push(&mut all, "<stdin>", io::stdin().lock())?;
            continue;
        }
        let found = files::list(path).map_err(failed)?;
        if found.is_empty() {
            return Err(Failure::question(format!(
                "{}: no manifest in this folder; expected *.yaml, *.yml or *.json",
                path.display()
            )));
        }
        for file in found.into_keys() {
            let origin = file.to_string_lossy();
            let opened = std::fs::File::open(&file)
                .map_err(|error| Failure::question(format!("{}: {error}", file.display())))?;
            push(&mut all, &origin, opened)?;
        }
    }
    Ok(all)
}

fn push(all: &mut Vec<v1::Manifest>, origin: &str, reader: impl io::Read) -> Result<(), Failure> {
    // A file may be given by itself and by its folder; of standard input nothing is left for a second time.
    if all.iter().any(|known| known.origin == origin) {
        return Ok(());
    }
    match files::read(reader) {
        Ok(Some(content)) => {
            all.push(v1::Manifest { origin: origin.to_owned(), content: content.into() });
            Ok(())
        }
        Ok(None) => Err(Failure::question(format!("{origin}: larger than {} bytes", files::LIMIT))),
        Err(error) => Err(Failure::question(format!("{origin}: {error}"))),
    }
}

/// Refuses what is too large for one request.
///
/// # Errors
/// If it is.
pub(super) fn fit(manifests: &[v1::Manifest]) -> Result<(), Failure> {
    let bytes: usize = manifests.iter().map(|it| it.content.len() + it.origin.len()).sum();
    match bytes <= MAX_MESSAGE_BYTES - ROOM {
        true => Ok(()),
        false => Err(Failure::question(format!(
            "manifests of {bytes} bytes; a compiler takes {} at once: name the files that change",
            MAX_MESSAGE_BYTES - ROOM
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_are_read_once_and_what_is_missing_is_said() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, "a: 1").unwrap();
        std::fs::write(folder.path().join("notes.txt"), "no manifest").unwrap();
        let read_all = read(&[file, folder.path().to_owned()]).unwrap();
        assert_eq!(read_all.len(), 1);
        assert_eq!(&read_all[0].content[..], b"a: 1");
        let missing = read(&[folder.path().join("b.yaml")]).unwrap_err();
        assert!(missing.words().contains("b.yaml: No such file"), "{missing:?}");
        let empty = tempfile::TempDir::new().unwrap();
        let none = read(&[empty.path().to_owned()]).unwrap_err();
        assert!(none.words().contains("expected *.yaml"), "{none:?}");
    }
}
