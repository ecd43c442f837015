//! Golden scripts: each manifest in `golden/` beside the script that it must render to, byte for byte.
//!
//! The second comment of a manifest holds the options of `render`. To accept what is rendered now, look at the
//! difference first: `BLESS=1 cargo test -p flock-compiler --test golden && git diff`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use flock_compiler::cli::{Cli, Command};
use flock_compiler::render::{Rendering, render};

fn manifests() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    found.sort();
    found
}

/// What `render` prints for a manifest, called as a user would call it.
fn rendered(manifest: &Path) -> String {
    let text = fs::read_to_string(manifest).unwrap();
    let options =
        text.lines().find_map(|line| line.strip_prefix("# render: ")).expect("a line `# render: OPTIONS`");
    let path = manifest.to_str().unwrap();
    let command =
        ["flock-compiler", "render", "--manifests", path].into_iter().chain(options.split_whitespace());
    let Command::Render(options) = Cli::try_parse_from(command).unwrap().command else {
        panic!("not render")
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let rendering = render(&options, &mut out, &mut err).unwrap();
    assert_eq!(rendering, Rendering::Done, "{path}: {}", String::from_utf8_lossy(&err));
    String::from_utf8(out).unwrap()
}

/// The statement that names the revision; empty in an empty script.
fn marker(script: &str) -> &str {
    script.lines().last().unwrap_or_default()
}

#[test]
fn manifests_render_to_the_scripts_beside_them() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut different = Vec::new();
    let all = manifests();
    assert!(all.len() >= 29, "the goldens are gone: {} left", all.len());
    for manifest in &all {
        let expected = manifest.with_extension("nft");
        let script = rendered(manifest);
        let known = fs::read_to_string(&expected).unwrap_or_default();
        if known == script {
            continue;
        }
        assert_ne!(
            marker(&known),
            marker(&script),
            "{}: another script under the same revision, which agents would take for the one they have: raise \
             LAYOUT_VERSION\n{script}",
            expected.display()
        );
        if bless {
            fs::write(&expected, script).unwrap();
        } else {
            different.push(format!("{}\n{script}", expected.display()));
        }
    }
    assert!(different.is_empty(), "scripts differ (see the head of this test):\n{}", different.join("\n"));
}
