//! The functions of the fuzz targets on every file of their corpora.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

use std::fs;
use std::path::Path;

use flock_node_agent::fuzzing;

fn holds_on(corpus: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        target(&fs::read(path).unwrap());
        files += 1;
    }
    assert!(files >= 8, "the corpus is gone: {files} files left");
}

#[test]
fn updates() {
    holds_on("update", fuzzing::update);
}

#[test]
fn scripts() {
    holds_on("guarded", fuzzing::guarded);
}

#[test]
fn journals() {
    holds_on("records", fuzzing::records);
}

#[test]
fn news_of_the_kernel() {
    holds_on("heard", fuzzing::heard);
}

#[test]
fn connections_that_the_kernel_tells() {
    holds_on("told", |bytes| _ = fuzzing::told(bytes));
}
