//! A tar.gz in memory: POSIX ustar, in gzip's framing with blocks that are stored as they are. A bundle is small, and nothing
//! that compresses is worth a dependency.

/// A block of tar.
const BLOCK: usize = 512;
/// The most that a stored block of deflate holds.
const STORED: usize = 0xffff;

/// An archive that grows.
pub(super) struct Archive {
    tar: Vec<u8>,
    /// Seconds since 1970.
    time: u64,
}

impl Archive {
    pub(super) const fn new(time: u64) -> Self {
        Self { tar: Vec::new(), time }
    }

    /// Adds a file; its path has at most 100 bytes.
    pub(super) fn add(&mut self, path: &str, content: &[u8]) {
        let mut header = [0u8; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| {
            for (place, byte) in header.iter_mut().skip(at).zip(bytes) {
                *place = *byte;
            }
        };
        put(0, path.as_bytes().get(..path.len().min(100)).unwrap_or_default());
        put(100, b"0000644\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", content.len()).as_bytes());
        put(136, format!("{:011o}\0", self.time).as_bytes());
        // The sum is made as if it were blanks.
        put(148, b"        ");
        put(156, b"0");
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        let text = format!("{sum:06o}\0 ");
        for (place, byte) in header.iter_mut().skip(148).zip(text.as_bytes()) {
            *place = *byte;
        }
        self.tar.extend_from_slice(&header);
        self.tar.extend_from_slice(content);
        self.tar.resize(self.tar.len().next_multiple_of(BLOCK), 0);
    }

    /// The bytes of the file.
    pub(super) fn finish(mut self) -> Vec<u8> {
        // Two blocks of zeros end a tar.
        self.tar.resize(self.tar.len() + 2 * BLOCK, 0);
        // Of gzip's header nothing is used that is optional: names and times are in the tar.
        let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
        let count = self.tar.len().div_ceil(STORED);
        for (index, chunk) in self.tar.chunks(STORED).enumerate() {
            let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
            out.push(u8::from(index + 1 == count));
            out.extend_from_slice(&length.to_le_bytes());
            // A stored block has its length once more with all bits turned (RFC 1951).
            out.extend_from_slice(&(!length).to_le_bytes());
            out.extend_from_slice(chunk);
        }
        out.extend_from_slice(&crc32(&self.tar).to_le_bytes());
        // Modulo 2³², as RFC 1952 has it.
        out.extend_from_slice(&(self.tar.len() as u32).to_le_bytes());
        out
    }
}

/// The checksum of gzip (RFC 1952).
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc >>= 1;
            if low == 1 {
                crc ^= 0xedb8_8320;
            }
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_gzip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn tar_reads_what_was_written() {
        let folder = tempfile::TempDir::new().unwrap();
        let long = "x".repeat(STORED + 7);
        let mut archive = Archive::new(1_700_000_000);
        archive.add("bundle/a.json", b"[]\n");
        archive.add("bundle/b.txt", long.as_bytes());
        let file = folder.path().join("bundle.tar.gz");
        std::fs::write(&file, archive.finish()).unwrap();
        let mut tar = std::process::Command::new("tar");
        let status = tar.arg("-xzf").arg(&file).arg("-C").arg(folder.path()).status().unwrap();
        assert!(status.success());
        assert_eq!(std::fs::read_to_string(folder.path().join("bundle/a.json")).unwrap(), "[]\n");
        assert_eq!(std::fs::read_to_string(folder.path().join("bundle/b.txt")).unwrap(), long);
    }
}
