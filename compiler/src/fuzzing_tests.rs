//! The fuzz target's function on every file of its corpus.

use std::fs;
use std::path::Path;

use super::*;

#[test]
fn manifests_render_holds_on_its_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/manifests_render");
    let mut files = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        manifests_render(&fs::read(path).unwrap());
        files += 1;
    }
    assert!(files >= 20, "the corpus is gone: {files} files left");
}
