//! Waiting for the certificates of the compiler's authorities, where they are not there yet.
//!
//! On a fresh cluster the agent's pod starts before the compiler has made them, and kubelet shows a running container what its
//! ConfigMap holds by now only when it syncs the pod: after 60 to 90 s. A container that ends is such a sync, and is started
//! again at once the first time. So an agent that is told to ([`CaRefresh::Exit`]) ends where its file is missing and the
//! compiler shows a certificate: authorities are published before that, so once is enough. It never ends while it has a bundle,
//! whatever that is worth, nor while no compiler is there.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use flock_shared::dial::{self, CompilerUrl, Trust};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// How often it is looked for the file, and for the compiler. Both cost next to nothing, and pods wait for rules meanwhile.
const LOOK: Duration = Duration::from_millis(500);
/// How long the compiler has shown a certificate before the agent ends for it: kubelet may refresh the volume of a container
/// that it starts just after it has started it, and an agent that ended again for that would be kept waiting by kubelet.
const SHOWN: Duration = Duration::from_secs(1);

/// What is done while the file is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CaRefresh {
    /// It is waited for.
    Wait,
    /// The agent ends once the compiler is there, for somebody who starts it again with a newer file.
    Exit,
}

/// What waiting came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bundle {
    /// There is a file to be read.
    There,
    /// The compiler is there and the file is not: it is to be had by a restart.
    Stale,
}

/// Waits for the file of `trust`; `missing` takes the reason while it is not there.
pub async fn bundle(
    trust: &Trust,
    compilers: &[CompilerUrl],
    refresh: CaRefresh,
    missing: impl Fn(String),
) -> Bundle {
    let path = &trust.ca_file;
    if !is_missing(path) {
        return Bundle::There;
    }
    warn!(path = %path.display(), ?refresh, "the certificates of the compiler's authorities are not there yet");
    missing(format!("the certificates of its authorities are not in {} yet", path.display()));
    let mut shown = ShownSince::default();
    loop {
        let is_shown = refresh == CaRefresh::Exit && is_shown_by_any(compilers, trust).await;
        // Looked for after that: what is missing now is not in the volume, which the compiler published before.
        if !is_missing(path) {
            info!(path = %path.display(), "the certificates of the compiler's authorities are there");
            return Bundle::There;
        }
        if shown.is_long_enough(is_shown, Instant::now()) {
            return Bundle::Stale;
        }
        sleep(LOOK).await;
    }
}

/// Since when a certificate has been shown.
#[derive(Debug, Default)]
struct ShownSince(Option<Instant>);

impl ShownSince {
    /// Takes what was seen at a moment. Returns true if a certificate was seen long enough ago, and is seen.
    fn is_long_enough(&mut self, is_shown: bool, now: Instant) -> bool {
        if !is_shown {
            return false;
        }
        let since = *self.0.get_or_insert(now);
        now.saturating_duration_since(since) >= SHOWN
    }
}

async fn is_shown_by_any(compilers: &[CompilerUrl], trust: &Trust) -> bool {
    for compiler in compilers.iter().filter(|compiler| !compiler.is_plaintext()) {
        if dial::shows_certificate(compiler, trust.server_name.as_deref()).await {
            return true;
        }
    }
    false
}

/// Returns true if there is no such file, or nothing in it. What cannot be read, or holds something else, is no reason to
/// wait: to use it fails, and says why.
fn is_missing(path: &Path) -> bool {
    match fs::read(path) {
        Ok(bytes) => bytes.trim_ascii().is_empty(),
        // Whatever else is wrong with the file, the connection that reads it next says so.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_missing_if_it_is_not_there_or_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        assert!(is_missing(&path));
        for (text, missing) in
            [("", true), (" \n", true), ("x", false), ("-----BEGIN CERTIFICATE-----", false)]
        {
            fs::write(&path, text).unwrap();
            assert_eq!(is_missing(&path), missing, "{text:?}");
        }
        assert!(!is_missing(folder.path()), "a folder is a mistake, which is said");
    }

    #[test]
    fn a_certificate_is_seen_for_a_while_before_it_counts() {
        let (mut shown, start) = (ShownSince::default(), Instant::now());
        assert!(!shown.is_long_enough(false, start));
        assert!(!shown.is_long_enough(true, start + SHOWN));
        assert!(!shown.is_long_enough(false, start + 3 * SHOWN), "it is gone");
        assert!(shown.is_long_enough(true, start + 3 * SHOWN));
        let mut shown = ShownSince::default();
        assert!(!shown.is_long_enough(true, start));
        assert!(!shown.is_long_enough(true, start + SHOWN - Duration::from_millis(1)));
        assert!(shown.is_long_enough(true, start + SHOWN));
    }
}
