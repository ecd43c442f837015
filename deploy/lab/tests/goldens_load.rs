//! Every golden script is something that nft and the kernel take, and take again: the second time it replaces the
//! first. And none asks the kernel for what newer ones refuse.
#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "goldens_load/registers.rs"]
mod registers;

use std::fs;
use std::path::{Path, PathBuf};

use flock_lab::{Lab, LabError, Node, skipped};

use registers::swapped_protocols;

/// The goldens in the order of their names.
fn goldens() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compiler/tests/golden");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "nft")).collect();
    found.sort();
    assert!(found.len() >= 29, "the goldens are gone: {} left", found.len());
    found
}

/// A golden's name.
fn name(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

/// What nft said, without the script that it was fed.
fn words(error: &LabError) -> String {
    match error {
        LabError::Command { stderr, .. } => stderr.lines().next().unwrap_or("nothing").to_owned(),
        other => other.to_string(),
    }
}

fn load_twice(node: &Node, script: &str) -> Result<(), LabError> {
    node.nft(script)?;
    node.nft(script)
}

#[test]
fn every_golden_loads_twice() {
    if let Err(reason) = Lab::available() {
        skipped(&reason);
        return;
    }
    let lab = Lab::new("goldens").unwrap();
    let node = lab.node("node").unwrap();
    let goldens = goldens();
    let loaded = |path: &PathBuf| {
        let script = fs::read_to_string(path).unwrap();
        load_twice(&node, &script).err().map(|error| format!("{}: {}", name(path), words(&error)))
    };
    let refused: Vec<String> = goldens.iter().filter_map(loaded).collect();
    // Read by deploy/kernels.
    println!("goldens: {} tried, {} refused", goldens.len(), refused.len());
    assert!(refused.is_empty(), "refused:\n{}", refused.join("\n"));
}

/// nft 1.0.6 swaps the bytes of a protocol in an interval concatenation as if it had two, which newer kernels refuse
/// (6.12.117 and 7.2 do), and with it the whole script. So no golden may make it.
#[test]
fn no_golden_swaps_the_bytes_of_a_protocol() {
    if let Err(reason) = Lab::available() {
        skipped(&reason);
        return;
    }
    let lab = Lab::new("netlink").unwrap();
    let node = lab.node("node").unwrap();
    let mut wrong = Vec::new();
    let mut loads = 0;
    for path in goldens() {
        let script = fs::read_to_string(&path).unwrap();
        let code = node.run("nft", &["-c", "--debug=netlink", "-f", "-"], &script).unwrap();
        loads += code.matches("[ meta load l4proto").count();
        wrong.extend(swapped_protocols(&code).into_iter().map(|swap| format!("{}: {swap}", name(&path))));
    }
    assert!(loads > 50, "nft tells of {loads} protocols only");
    assert!(wrong.is_empty(), "kernels refuse this:\n{}", wrong.join("\n"));
}
