//! Steps of a script: what nft is given one after the other, so that no transaction is large.
//!
//! What the kernel needs for a transaction grows with its elements, to 8 kB for each while anybody listens. So a script
//! may consist of steps, separated by a line that is exactly [`STEP`]. It has one hash, and for nft such a line is a
//! comment: the whole is also one valid transaction. The last step alone changes what is judged; those before it fill
//! what nothing refers to yet.

/// The line that ends a step.
pub const STEP: &str = "# step";

/// Elements, sets, maps, chains and rules that a writer puts into one step. With so many, a transaction takes some 40 MB
/// of kernel memory at worst, and the 20 steps of 100,000 elements take no longer than one transaction.
pub const STEP_OBJECTS: usize = 5000;

/// The steps of a script, in order; one, if nothing separates any.
pub fn of(script: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(script);
    std::iter::from_fn(move || {
        let all = rest.take()?;
        let mut start = 0;
        for line in all.split_inclusive(|byte| *byte == b'\n') {
            let end = start + line.len();
            if line.strip_suffix(b"\n").unwrap_or(line) == STEP.as_bytes() {
                rest = all.get(end..);
                return all.get(..start);
            }
            start = end;
        }
        Some(all)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(script: &str) -> Vec<&str> {
        of(script.as_bytes()).map(|step| std::str::from_utf8(step).unwrap()).collect()
    }

    #[test]
    fn a_line_of_its_own_ends_a_step() {
        assert_eq!(steps("a\nb\n"), ["a\nb\n"]);
        assert_eq!(steps("a\n# step\nb\n# step\nc"), ["a\n", "b\n", "c"]);
        assert_eq!(steps(""), [""]);
        assert_eq!(steps("a\n# step"), ["a\n", ""]);
    }

    #[test]
    fn nothing_else_does() {
        for script in [" # step\n", "# step \n", "# steps\n", "a # step\n", "#step\n", "# step\r\n"] {
            assert_eq!(steps(script), [script], "{script:?}");
        }
    }
}
