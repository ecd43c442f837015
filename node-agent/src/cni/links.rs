//! Compares the record of sandboxes with the kernel: a sandbox whose link is gone was deleted, and nobody said so.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, info};

use super::sandboxes::Sandboxes;
use super::store::SandboxStore;
use crate::child::Program;
use crate::facts;

/// Looks where `nft` works, every `interval`.
pub async fn look(store: &SandboxStore, nft: &Program, interval: Duration) {
    loop {
        sleep(interval).await;
        if !store.read(Sandboxes::has_links) {
            continue;
        }
        let devices = match facts::device_names(nft).await {
            Ok(devices) => devices,
            Err(error) => {
                let error = error.to_string();
                debug!(error = error.lines().next(), "links of sandboxes were not looked at");
                continue;
            }
        };
        let ended = store.mark(|sandboxes| sandboxes.look(&devices));
        if let Some(first) = ended.first() {
            info!(count = ended.len(), %first, "sandboxes are gone without a word of CNI: their links are");
            // To mark has nothing written to disk; this has.
            let ((), _) = store.edit(|_| ());
            store.tell_again();
        }
    }
}
