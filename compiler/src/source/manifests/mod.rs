//! Manifests, followed as they change. How they are read is `flock_convert::manifests`' business.

mod follow;
#[cfg(test)]
mod follow_tests;

use std::path::PathBuf;
use std::time::Duration;

use flock_convert::HostInterfaces;
use tokio::time::MissedTickBehavior;

use super::{Events, Source, SourceError};
use follow::Follower;

/// Time between two looks at the directory. A change is taken at the second look that sees it, well within a second.
const PERIOD: Duration = Duration::from_millis(200);

/// A directory of manifests (or one file), followed as it changes.
///
/// It is polled: notifications are lost across bind mounts, network file systems and the swap of links by which a
/// ConfigMap volume is updated, while a look at a few files costs microseconds wherever they are. A file counts once
/// it stays the same; one that takes long to write should be written elsewhere and moved into place.
#[derive(Debug)]
pub struct ManifestsSource {
    path: PathBuf,
    interfaces: HostInterfaces,
}

impl ManifestsSource {
    /// Follows `path`.
    #[must_use]
    pub const fn new(path: PathBuf, interfaces: HostInterfaces) -> Self {
        Self { path, interfaces }
    }
}

impl Source for ManifestsSource {
    async fn run(self, events: Events) -> Result<(), SourceError> {
        let unreadable = |source| SourceError::Unreadable { path: self.path.clone(), source };
        let mut follower = Follower::new(self.path.clone(), self.interfaces);
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = events.closed() => return Ok(()),
                _ = ticks.tick() => {}
            }
            // A large listing takes seconds to parse, which must not hold up other tasks.
            let polled = tokio::task::spawn_blocking(move || (follower.poll(), follower)).await;
            let (found, back) = polled.map_err(|error| unreadable(std::io::Error::other(error)))?;
            follower = back;
            for event in found.map_err(unreadable)? {
                if events.send(event).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}
