//! Closes connections whose peer does not read, or does not show who it is.

use std::collections::BTreeMap;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::limits::Limits;
use super::link::Links;
use crate::metrics::Metrics;

/// Looks that a limit is divided into.
const LOOKS: u32 = 8;

/// How far a peer that is behind had read, and when.
struct Progress {
    written: u64,
    at: Instant,
}

/// Watches over `links` for as long as it is polled.
pub(super) async fn watch(links: &Links, limits: &Limits, metrics: &Metrics) {
    let mut looks = interval(limits.write.min(limits.introduction) / LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut behind: BTreeMap<u64, Progress> = BTreeMap::new();
    loop {
        let now = looks.tick().await;
        let open = links.open();
        behind.retain(|number, _| open.contains_key(number));
        for (number, link) in open {
            let longer = |since: Option<Instant>, limit| since.is_some_and(|since| now - since >= limit);
            if link.is_evicted() || longer(link.stranger_since(), limits.introduction) {
                metrics.dropped("strangers");
                link.close();
                continue;
            }
            // Whoever reads slowly enough to keep its place for ever keeps it from others.
            if longer(link.oldest_permit(), limits.ack) {
                metrics.dropped("slow");
                link.close();
                continue;
            }
            if !link.is_behind() {
                behind.remove(&number);
                continue;
            }
            let written = link.written();
            let progress = behind.entry(number).or_insert(Progress { written, at: now });
            if written.saturating_sub(progress.written) >= limits.progress {
                *progress = Progress { written, at: now };
            } else if now.duration_since(progress.at) >= limits.write {
                tracing::warn!(unread_for = ?limits.write, "closing a connection: its peer does not read");
                metrics.dropped("unread");
                link.close();
            }
        }
    }
}
