//! Every golden script is something that nft takes, and takes again: the second time it replaces the first.

use std::fs;
use std::path::Path;

use flock_lab::{Lab, skipped};

#[test]
fn every_golden_loads_twice() {
    if let Err(reason) = Lab::available() {
        skipped(&reason);
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compiler/tests/golden");
    let lab = Lab::new("goldens").unwrap();
    let node = lab.node("node").unwrap();
    let mut loaded = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "nft") {
            let script = fs::read_to_string(&path).unwrap();
            for _ in 0..2 {
                node.nft(&script).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
            loaded += 1;
        }
    }
    assert!(loaded >= 29, "the goldens are gone: {loaded} left");
}
