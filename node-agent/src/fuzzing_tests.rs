//! The functions of the fuzz targets on every file of their corpora.

use std::fs;
use std::path::Path;

use super::*;

fn holds_on(corpus: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display();
        println!("{name}");
        target(&fs::read(path).unwrap());
        files += 1;
    }
    assert!(files >= 8, "the corpus is gone: {files} files left");
}

#[test]
fn updates() {
    holds_on("update", update);
}

#[test]
fn scripts() {
    holds_on("guarded", guarded);
}

#[test]
fn some_scripts_pass_and_some_do_not() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/guarded");
    let passes = |name: &str| guard::check(&Costs::default(), &fs::read(folder.join(name)).unwrap()).is_ok();
    assert!(["full", "interfaces", "delta", "delta-adds", "steps"].into_iter().all(passes));
    assert!(!["nat-hidden", "include", "continued", "second-statement"].into_iter().any(passes));
}

#[test]
fn journals() {
    holds_on("records", records);
}

#[test]
fn news_of_the_kernel() {
    holds_on("heard", heard);
}

#[test]
fn connections_that_the_kernel_tells() {
    holds_on("told", |bytes| _ = told(bytes));
}
