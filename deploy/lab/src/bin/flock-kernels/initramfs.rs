//! A guest's first root, as the archive that kernels unpack: busybox, an init, modules.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::debian::KernelFiles;

const INIT: &str = include_str!("init.sh");
/// Folders that init mounts something on.
const FOLDERS: [&str; 9] = ["bin", "modules", "proc", "sys", "dev", "tmp", "host", "over", "root"];

/// The archive for a kernel.
pub(crate) fn initramfs(busybox: &Path, kernel: &KernelFiles) -> Result<Vec<u8>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
    let mut archive = Archive::default();
    for folder in FOLDERS {
        archive.add(folder, 0o040_755, &[]);
    }
    archive.add("init", 0o100_755, INIT.as_bytes());
    archive.add("bin/busybox", 0o100_755, &read(busybox)?);
    for module in kernel.modules()? {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.add(&format!("modules/{name}"), 0o100_644, &read(&module)?);
    }
    Ok(archive.end())
}

/// An archive in the format that cpio calls newc.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        // Inode, mode, owner, group, links, time, size, four numbers of devices, length of the name, checksum.
        let inode = self.0.len();
        let fields = [inode, mode as usize, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
        self.0.extend_from_slice(b"070701");
        for field in fields {
            self.0.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0);
        self.pad();
        self.0.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned() {
        let mut archive = Archive::default();
        archive.add("a", 0o100_644, b"hello");
        let bytes = archive.end();
        assert!(bytes.len().is_multiple_of(4));
        let header = String::from_utf8(bytes[..112].to_vec()).unwrap();
        assert_eq!(&header[..22], "07070100000000000081a4");
        assert_eq!(&header[54..62], "00000005", "its size");
        assert_eq!(&header[94..102], "00000002", "the name's length");
        assert_eq!(&bytes[110..112], b"a\0");
        assert_eq!(&bytes[112..120], b"hello\0\0\0");
        assert_eq!(&bytes[120..126], b"070701");
    }
}
