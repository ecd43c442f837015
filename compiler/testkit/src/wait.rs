//! Waiting for a condition instead of for time to pass.

use std::future::Future;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

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

/// What `work` gives, or nothing if it takes longer than `limit` by the machine's clock: a test that moves tokio's on would
/// otherwise spend its patience within milliseconds in which nothing else can happen.
pub async fn within_real_time<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let (too_late, is_too_late) = oneshot::channel();
    // Dropped with this future, which ends the thread.
    let (_in_time, is_in_time) = mpsc::channel::<()>();
    thread::spawn(move || {
        if is_in_time.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            let _ = too_late.send(());
        }
    });
    tokio::select! {
        biased;
        value = work => Some(value),
        Ok(()) = is_too_late => None,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn patience_is_by_the_machines_clock() {
        let day = Duration::from_secs(86_400);
        let late = within_real_time(Duration::from_secs(3600), tokio::time::sleep(day)).await;
        assert!(late.is_some(), "a day of tokio's clock is no hour of the machine's");
        assert!(within_real_time(Duration::from_millis(5), pending::<()>()).await.is_none());
    }
}
