//! Finds out if this replica alone fails to see the API server.
//!
//! A replica that hears nothing any more serves on, for what it knows is better than nothing: were it the API server that is
//! away, every replica would hear nothing, and a node that starts would get no table from any. But where the server says to
//! whoever asks, without a token and on a connection of its own, that it is well, and the failures are of a kind that others
//! need not have (no way, no answer, a token that does not count), then others do better. A server that has just come back is
//! well before anybody has read from it again: only tries that began after that tell something.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use kube::Client;
use tokio::time::{sleep, timeout};

use super::statistics::Statistics;

/// Where a server says whether it is well, its store included. Everybody may ask.
const WELL: &str = "/readyz";

/// How often the probe looks, and when it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeSettings {
    /// Nothing was heard for longer than this, and several tries have failed.
    pub blind: Duration,
    /// Between two looks.
    pub every: Duration,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self { blind: Duration::from_secs(120), every: Duration::from_secs(15) }
    }
}

/// Asks the server without credentials.
pub(super) struct AnonymousProbe {
    pub(super) anonymous: Client,
    pub(super) statistics: Arc<Statistics>,
    pub(super) when: ProbeSettings,
}

/// So many tries of a kind have to fail after the server was found well: one may have been under way by then.
const TRIES: u64 = 2;

/// How often each blind kind had failed when the server was first found well; `None`: it is not blind.
type Failures = [Option<u64>; 4];

/// Returns true if a kind that was blind then is still, and has failed often enough since.
fn has_failed_since(first: &Failures, now: &Failures) -> bool {
    first.iter().zip(now).any(|pair| matches!(pair, (Some(first), Some(now)) if *now >= first + TRIES))
}

impl AnonymousProbe {
    pub(super) async fn run(self) -> Infallible {
        let mut first: Option<Failures> = None;
        loop {
            sleep(self.when.every).await;
            let mut blind = self.statistics.blind(self.when.blind);
            if blind.iter().any(Option::is_some) && !self.is_well().await {
                // The server itself is away or not well: other replicas would do no better.
                blind = Failures::default();
            }
            let is_alone = if blind.iter().any(Option::is_some) {
                // What failed before the server was found well may have been its own fault.
                has_failed_since(first.get_or_insert(blind), &blind)
            } else {
                first = None;
                false
            };
            if !self.statistics.set_alone(is_alone) {
                continue;
            }
            if is_alone {
                tracing::error!(
                    "the API server is well, and this replica cannot read it: not ready, so that others serve"
                );
            } else {
                tracing::info!("this replica is not the only one any more that cannot read the API server");
            }
        }
    }

    async fn is_well(&self) -> bool {
        let Ok(request) = Request::get(WELL).body(Vec::new()) else { return false };
        matches!(timeout(self.when.every, self.anonymous.request_text(request)).await, Ok(Ok(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tries_after_the_server_was_found_well_tell_something() {
        let first = [Some(7), None, Some(3), None];
        assert!(!has_failed_since(&first, &first));
        assert!(!has_failed_since(&first, &[Some(8), None, Some(4), None]), "these may have been under way");
        assert!(!has_failed_since(&first, &[None, None, Some(4), Some(9)]), "heard again, and newly blind");
        assert!(has_failed_since(&first, &[Some(9), None, None, None]));
    }
}
