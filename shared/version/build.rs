//! Finds the commit that is built: `FLOCK_COMMIT` of the build's environment, else what git says in release builds. It
//! never fails: without either, the programs say no commit.
//!
//! Builds for tests do not ask git. They would be stale after each commit, and with them everything that is linked to
//! this crate.

use std::path::Path;
use std::process::Command;

/// How much of a hash is shown: 48 bits.
const SHOWN: usize = 12;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=FLOCK_COMMIT");
    let given = std::env::var("FLOCK_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| (std::env::var("PROFILE").as_deref() == Ok("release")).then(asked)?);
    // Of what is no hash, nothing is shown: it would stand in logs and on terminals.
    let commit = commit.filter(|commit| commit.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if let Some(commit) = commit {
        println!("cargo:rustc-env=FLOCK_COMMIT_SHOWN={}", commit.get(..SHOWN).unwrap_or(&commit));
    }
}

/// The commit that is checked out, and this script again when it is another.
fn asked() -> Option<String> {
    // The log of HEAD grows with each commit, and HEAD itself changes with the branch.
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", file])?;
        // A file that is missing would be "changed" at every build.
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
