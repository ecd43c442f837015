//! A program with all that it needs to run on another system of the same machine: its own loader and libraries.
//!
//! Which libraries those are, the loader says itself (`ld.so --list PROGRAM`): so they are the ones that the program runs
//! with here.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::BootError;
use super::elf::{Linkage, linkage};
use crate::install::file;

/// Far longer than any program or library of it.
const LONGEST: u64 = 256 << 20;

/// A program and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// What it is.
    pub bytes: Vec<u8>,
    /// The file name of its loader, which is among the libraries; `None` if it needs none.
    pub loader: Option<String>,
    /// Where its libraries are here, by the names that it asks for.
    pub libraries: BTreeMap<String, PathBuf>,
}

/// Reads a program and finds what it needs.
///
/// # Errors
/// When it cannot be read, is no program, or misses a library.
pub fn gather(path: &Path) -> Result<Gathered, BootError> {
    let bytes = read(path)?;
    let loader = match linkage(&bytes) {
        Linkage::Static => return Ok(Gathered { bytes, loader: None, libraries: BTreeMap::new() }),
        Linkage::Foreign => return Err(BootError::NoProgram(path.to_owned())),
        Linkage::Dynamic(loader) => PathBuf::from(loader),
    };
    let failed = |why| BootError::File { path: loader.clone(), why };
    let name = loader.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let name = name.ok_or_else(|| BootError::NoProgram(path.to_owned()))?;
    let mut list = Command::new(&loader);
    // `LD_LIBRARY_PATH` and its like would have other libraries listed.
    list.arg("--list").arg(path).stdin(Stdio::null()).env_clear();
    let output = list.output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Before the exit status, since the list names what is missing.
    let mut libraries = listed(&text).map_err(|missing| BootError::Library(path.to_owned(), missing))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed(io::Error::other(said)));
    }
    libraries.insert(name.clone(), loader);
    Ok(Gathered { bytes, loader: Some(name), libraries })
}

/// All of a file.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, BootError> {
    let path = path.to_owned();
    match file::read(&path, LONGEST) {
        Ok((bytes, _)) => Ok(bytes),
        Err(why) => Err(BootError::File { path, why }),
    }
}

/// What a loader lists: libraries by name, with their paths. `Err`: the first that it does not find.
fn listed(text: &str) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut libraries = BTreeMap::new();
    for line in text.lines() {
        // The kernel's own, and the loader itself, stand there without an arrow.
        let Some((name, rest)) = line.trim().split_once(" => ") else { continue };
        let path = rest.rsplit_once(" (").map_or(rest, |(path, _)| path).trim();
        // There the loader says `not found`.
        if !path.starts_with('/') {
            return Err(name.to_owned());
        }
        let name = name.rsplit('/').next().unwrap_or(name);
        libraries.insert(name.to_owned(), PathBuf::from(path));
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loaders_list_is_read() {
        let glibc = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                     \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let one = |name: &str, path: &str| BTreeMap::from([(name.to_owned(), PathBuf::from(path))]);
        assert_eq!(listed(glibc), Ok(one("libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6")));
        let musl =
            "\t/lib/ld-musl-x86_64.so.1 (0x7f)\n\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f)\n";
        assert_eq!(listed(musl), Ok(one("libc.musl-x86_64.so.1", "/lib/ld-musl-x86_64.so.1")));
        assert_eq!(listed("\tlibx.so.1 => not found\n"), Err("libx.so.1".to_owned()));
    }
}
