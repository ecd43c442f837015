//! Entry points of the fuzz targets in `compiler/fuzz`. They are here so that an ordinary test runs them on their corpus,
//! and are built for these two only.

use flock_compiler_core::{World, render, translate};

use flock_convert::HostInterfaces;
use flock_convert::manifests::Manifests;

/// Whatever a manifest holds, every node gets a script that is made of our own characters only.
///
/// # Panics
/// If a script holds what only a tenant can have put there, which is what fuzzing looks for.
pub fn manifests_render(bytes: &[u8]) {
    let schemes = [
        HostInterfaces::Sha1 { prefix: "cali".to_owned() },
        HostInterfaces::Annotation { key: "flock.example/veth".to_owned() },
    ];
    for interfaces in &schemes {
        let manifests = Manifests::from_bytes([("fuzz.yaml", bytes)], &interfaces.clone().into());
        for error in &manifests.errors {
            assert!(is_plain(&error.to_string().replace('\n', " ")), "message {error:?}");
        }
        let mut world = World::default();
        for change in manifests.listings() {
            world.apply(change);
        }
        let translation = translate(&world);
        for problem in translation.problems() {
            assert!(is_plain(&problem.to_string()), "message {problem:?}");
        }
        for node in world.node_names() {
            check_script(render(&translation.output(node)).bytes());
        }
    }
}

/// Messages go to terminals and logs: no control characters.
fn is_plain(message: &str) -> bool {
    !message.chars().any(char::is_control)
}

/// Every byte is printable ASCII or a newline, every quote is closed on its line, and braces match.
fn check_script(script: &[u8]) {
    let mut depth = 0_usize;
    for line in script.split(|byte| *byte == b'\n') {
        let mut quoted = false;
        for byte in line {
            assert!(
                matches!(byte, b' '..=b'~' | b'\t'),
                "byte {byte} in {:?}",
                String::from_utf8_lossy(line)
            );
            match byte {
                b'"' => quoted = !quoted,
                b'{' if !quoted => depth += 1,
                b'}' if !quoted => depth = depth.checked_sub(1).unwrap_or_else(|| unbalanced(line)),
                _ => {}
            }
        }
        assert!(!quoted, "open quote in {:?}", String::from_utf8_lossy(line));
    }
    assert_eq!(depth, 0, "open brace");
}

fn unbalanced(line: &[u8]) -> ! {
    panic!("closing brace too many in {:?}", String::from_utf8_lossy(line))
}

#[cfg(test)]
#[path = "fuzzing_tests.rs"]
mod tests;
