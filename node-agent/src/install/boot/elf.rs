//! Which program loads the libraries of a binary: its ELF header says so. Pure.

const MAGIC: &[u8] = b"\x7fELF";
/// The program header that names the loader.
const INTERP: u64 = 3;

/// Where fields are, by the size of addresses.
struct Layout {
    address: usize,
    table: usize,
    entry_size: usize,
    entries: usize,
    /// Within an entry.
    offset: usize,
    length: usize,
}

const OF_32_BITS: Layout =
    Layout { address: 4, table: 28, entry_size: 42, entries: 44, offset: 4, length: 16 };
const OF_64_BITS: Layout =
    Layout { address: 8, table: 32, entry_size: 54, entries: 56, offset: 8, length: 32 };

/// What a file is, as a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linkage {
    /// Complete.
    Static,
    /// Loaded by this program.
    Dynamic(String),
    /// None for this kind of system: a script, or anything else.
    Foreign,
}

/// Reads what a file is.
#[must_use]
pub fn linkage(bytes: &[u8]) -> Linkage {
    if !bytes.starts_with(MAGIC) {
        return Linkage::Foreign;
    }
    let layout = match bytes.get(4) {
        Some(1) => &OF_32_BITS,
        Some(2) => &OF_64_BITS,
        _ => return Linkage::Foreign,
    };
    let is_big = bytes.get(5) == Some(&2);
    interpreter(bytes, layout, is_big).unwrap_or(Linkage::Foreign)
}

/// `None` if the file is cut off or refers beyond its end.
fn interpreter(bytes: &[u8], layout: &Layout, is_big: bool) -> Option<Linkage> {
    let number = |at: usize, size: usize| {
        let digits = bytes.get(at..at.checked_add(size)?)?;
        let fold = |sum: u64, digit: &u8| sum << 8 | u64::from(*digit);
        Some(if is_big { digits.iter().fold(0, fold) } else { digits.iter().rev().fold(0, fold) })
    };
    // The file may be anything, so no place that it names is believed.
    let place = |at: usize, size: usize| usize::try_from(number(at, size)?).ok();
    let table = place(layout.table, layout.address)?;
    let size = place(layout.entry_size, 2)?;
    for index in 0..place(layout.entries, 2)? {
        let entry = table.checked_add(index.checked_mul(size)?)?;
        if number(entry, 4)? != INTERP {
            continue;
        }
        let start = place(entry.checked_add(layout.offset)?, layout.address)?;
        let length = place(entry.checked_add(layout.length)?, layout.address)?;
        let name = bytes.get(start..start.checked_add(length)?)?;
        let name = std::str::from_utf8(name).ok()?.trim_end_matches('\0');
        return Some(Linkage::Dynamic(name.to_owned()));
    }
    Some(Linkage::Static)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of one program header, which names a loader.
    fn file(bits: u8, is_big: bool, kind: u32) -> Vec<u8> {
        let layout = if bits == 1 { OF_32_BITS } else { OF_64_BITS };
        let name = b"/lib/ld.so.1\0";
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', bits, 1 + u8::from(is_big)]);
        let mut put = |at: usize, size: usize, value: u64| {
            let whole = value.to_be_bytes();
            let mut digits = whole[8 - size..].to_vec();
            if !is_big {
                digits.reverse();
            }
            bytes[at..at + size].copy_from_slice(&digits);
        };
        put(layout.table, layout.address, 64);
        put(layout.entry_size, 2, 56);
        put(layout.entries, 2, 1);
        put(64, 4, kind.into());
        put(64 + layout.offset, layout.address, 120);
        put(64 + layout.length, layout.address, name.len() as u64);
        bytes.extend_from_slice(name);
        bytes
    }

    #[test]
    fn the_loader_is_named_in_a_header_of_any_size_and_order() {
        for (bits, is_big) in [(1, false), (1, true), (2, false), (2, true)] {
            let dynamic = file(bits, is_big, 3);
            assert_eq!(linkage(&dynamic), Linkage::Dynamic("/lib/ld.so.1".to_owned()), "{bits} {is_big}");
            assert_eq!(linkage(&file(bits, is_big, 1)), Linkage::Static, "{bits} {is_big}");
            for length in 0..dynamic.len() {
                assert_eq!(linkage(&dynamic[..length]), Linkage::Foreign, "{length} bytes");
            }
        }
        assert_eq!(linkage(b"#!/bin/sh\n"), Linkage::Foreign);
    }

    #[test]
    fn this_program_is_one() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_ne!(linkage(&own), Linkage::Foreign);
    }
}
