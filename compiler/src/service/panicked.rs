//! Notices that a stream panicked: HTTP/2 drives streams in tasks of its own and drops what became of them.

use std::sync::Arc;

use tokio::sync::Notify;

/// Held by everything that runs in a task of HTTP/2; goes off when it is dropped by a panic.
#[derive(Debug, Clone, Default)]
pub(super) struct Alarm(Arc<Notify>);

impl Alarm {
    /// Waits for a panic.
    pub(super) async fn gone_off(&self) {
        self.0.notified().await;
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Remembered until somebody waits.
            self.0.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_sets_it_off() {
        let alarm = Alarm::default();
        let held = alarm.clone();
        let panicked = tokio::spawn(async move {
            let _held = held;
            panic!("on purpose");
        });
        assert!(panicked.await.is_err());
        alarm.gone_off().await;
    }
}
