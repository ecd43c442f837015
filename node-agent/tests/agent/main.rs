//! The agent against a compiler on a real port and an nft that is a shell script, as a future and as a process, and
//! against the kernel's nft in a network namespace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "these are tests")]

mod additive;
mod attended;
mod cni;
mod cni_kept;
mod cni_links;
mod cni_socket;
mod compiler;
mod connections;
mod disk;
mod drift;
mod facts;
mod fake_nft;
mod kernel;
mod kernel_deltas;
mod mutants;
mod process;
mod saved;
mod stage;
mod steps;
mod stream;
mod survival;
mod unheard;

/// The factor of the lab, which is no dependency of the agent.
#[path = "../../../deploy/lab/src/patience.rs"]
#[allow(unreachable_pub, reason = "it is public in the lab")]
mod patience;

use std::future::Future;
use std::time::Duration;

/// The longest that anything here may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `work` gives; a test that would wait forever fails instead.
async fn patiently<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(patience::patient(PATIENCE), work).await.expect("this should have happened long ago")
}
