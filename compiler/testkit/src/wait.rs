//! Waiting for a condition instead of for time to pass.

use std::time::Duration;

/// How long a condition may take before the test fails: far beyond what a slow machine needs.
const LIMIT: Duration = Duration::from_secs(60);

/// A condition did not come true.
#[derive(Debug, thiserror::Error)]
#[error("waited in vain until {0}")]
pub struct WaitedInVain(String);

/// Returns once `holds` does.
///
/// # Errors
/// When it does not hold for a minute; `what` says what was waited for.
pub async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), WaitedInVain> {
    let poll = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, poll).await.map_err(|_| WaitedInVain(what.to_owned()))
}
