//! Closes connections whose peer does not read, or does not show who it is.

use std::collections::BTreeMap;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::registry::Connections;
use crate::metrics::Metrics;
use crate::service::Limits;

/// Looks that a limit is divided into.
const LOOKS: u32 = 8;

/// How far a peer that is behind had read, and when.
struct PeerProgress {
    written: u64,
    at: Instant,
}

/// Watches over `connections` for as long as it is polled.
pub(in crate::service) async fn watch(connections: &Connections, limits: &Limits, metrics: &Metrics) {
    let mut looks = interval(limits.write.min(limits.authentication) / LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut behind: BTreeMap<u64, PeerProgress> = BTreeMap::new();
    loop {
        let now = looks.tick().await;
        let open = connections.open();
        behind.retain(|number, _| open.contains_key(number));
        for (number, connection) in open {
            let backlog = connection.backlog();
            let longer = |since: Option<Instant>, limit| since.is_some_and(|since| now - since >= limit);
            if longer(connection.authentication().pending_since(), limits.authentication) {
                metrics.dropped("strangers");
                connection.close();
                continue;
            }
            // Whoever reads slowly enough to keep its permit for ever keeps it from others.
            if longer(backlog.oldest_permit(), limits.ack) {
                metrics.dropped("slow");
                connection.close();
                continue;
            }
            if !backlog.is_behind() {
                behind.remove(&number);
                continue;
            }
            let written = backlog.written();
            let progress = behind.entry(number).or_insert(PeerProgress { written, at: now });
            // A few bytes are no progress: pings are written in any case, and a peer may read just enough to stay.
            if written.saturating_sub(progress.written) >= limits.progress {
                *progress = PeerProgress { written, at: now };
            } else if now.duration_since(progress.at) >= limits.write {
                tracing::warn!(unread_for = ?limits.write, "closing a connection: its peer does not read");
                metrics.dropped("unread");
                connection.close();
            }
        }
    }
}
