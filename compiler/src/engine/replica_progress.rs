//! How far a replica has come, so that replicas can tell who is ahead of an agent and who is behind it.
//!
//! Of each kind two versions count. `newest_change` is the newest change that is part of the state: what an agent that has
//! applied the state knows. `read_through` is how far nothing is missing: what a replica must have read to serve that agent
//! without rolling it back. A quiet kind keeps its `newest_change`, so it never makes anybody wait.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio::time::Instant;

use super::versions::{Gap, Versions};
use crate::source::{Kind, KindProgress, Reached, Version};

/// How far the states that are published reach.
#[derive(Debug, Clone, Default)]
pub struct ReplicaProgress {
    newest_change: Versions,
    read_through: Versions,
    /// Where the store itself was when it was asked last, and when that was.
    store: BTreeMap<Kind, (Instant, Version)>,
}

impl ReplicaProgress {
    /// The newest change of each kind that a published state knows. Taken after a state, it is never older than
    /// that one.
    #[must_use]
    pub const fn newest_change(&self) -> &Versions {
        &self.newest_change
    }

    /// Up to where nothing of each kind is missing in the published states.
    #[must_use]
    pub const fn read_through(&self) -> &Versions {
        &self.read_through
    }

    /// Where the published states lack what a state at `wanted` knows; empty if nowhere.
    #[must_use]
    pub fn gaps(&self, wanted: &Versions) -> Vec<Gap> {
        wanted.beyond(&self.read_through)
    }

    /// Returns true if the store itself, asked after `since`, had not come to what an agent had applied before that. Then
    /// it never will: it has gone back.
    #[must_use]
    pub fn is_rewound(&self, gap: &Gap, since: Instant) -> bool {
        self.store.get(&gap.kind).is_some_and(|(asked, at)| *asked >= since && *at < gap.wanted)
    }
}

/// What a replica has read, and what of it is published.
#[derive(Debug)]
pub(super) struct ProgressRecord {
    read: ReplicaProgress,
    published: watch::Sender<ReplicaProgress>,
}

impl ProgressRecord {
    pub(super) fn new() -> (Self, watch::Receiver<ReplicaProgress>) {
        let (published, progress) = watch::channel(ReplicaProgress::default());
        (Self { read: ReplicaProgress::default(), published }, progress)
    }

    /// Takes down what a source has read; `changed` if that made a difference to the world.
    pub(super) fn read(&mut self, KindProgress { kind, reached }: KindProgress, changed: bool) {
        let ReplicaProgress {
            newest_change: Versions(newest_change),
            read_through: Versions(through),
            store,
        } = &mut self.read;
        let raise = |versions: &mut BTreeMap<Kind, Version>, version| {
            let newest = versions.entry(kind).or_insert(version);
            *newest = (*newest).max(version);
        };
        match reached {
            Reached::Listing { newest, through: listed } => {
                let before = through.insert(kind, listed);
                // A store that was restored counts anew: what was read of the one before is no measure.
                if before.is_some_and(|before| listed < before) {
                    tracing::warn!(%kind, %listed, "the versions of the API server went back: was it restored?");
                    newest_change.insert(kind, newest);
                // The first listing is what the replica begins with, also if it holds nothing.
                } else if changed || before.is_none() {
                    raise(newest_change, newest);
                }
            }
            Reached::Event(version) => {
                raise(through, version);
                if changed {
                    raise(newest_change, version);
                }
            }
            Reached::Bookmark(version) => raise(through, version),
            Reached::Store { at, asked } => {
                store.insert(kind, (asked, at));
            }
            // Nobody is to wait for what compares with nothing.
            Reached::Somewhere => {
                newest_change.remove(&kind);
                through.remove(&kind);
                store.remove(&kind);
            }
        }
    }

    /// What has been read is about to be published: from now on a state may know it.
    ///
    /// Before the states, so that an agent never has a change that its position does not name: another replica would roll it
    /// back. `read_through` follows after them, for it promises that they are there.
    pub(super) fn publishing(&self) {
        self.published.send_if_modified(|progress| {
            progress.newest_change.clone_from(&self.read.newest_change);
            // Nobody waits for this.
            false
        });
    }

    /// What has been read is published.
    pub(super) fn published(&self) {
        self.published.send_if_modified(|progress| {
            let further =
                progress.read_through != self.read.read_through || progress.store != self.read.store;
            progress.clone_from(&self.read);
            further
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::versions::tests::versions;
    use super::*;

    fn version(version: u32) -> Version {
        version.to_string().parse().unwrap()
    }

    /// A record after what a source has read of pods, each with true if it made a difference.
    fn pods(read: &[(Reached, bool)]) -> ReplicaProgress {
        let (mut record, progress) = ProgressRecord::new();
        for (reached, changed) in read {
            record.read(KindProgress { kind: Kind::Pod, reached: *reached }, *changed);
        }
        record.publishing();
        record.published();
        progress.borrow().clone()
    }

    fn listing(newest: u32, through: u32) -> Reached {
        Reached::Listing { newest: version(newest), through: version(through) }
    }

    fn event(at: u32) -> Reached {
        Reached::Event(version(at))
    }

    fn bookmark(at: u32) -> Reached {
        Reached::Bookmark(version(at))
    }

    #[test]
    fn what_was_seen_is_what_made_a_difference_and_what_was_read_is_everything() {
        for (read, newest_change, through) in [
            (&[(listing(7, 20), true)][..], "Pod=7", "Pod=20"),
            (&[(listing(0, 20), true)], "Pod=0", "Pod=20"),
            (&[(listing(7, 20), true), (bookmark(30), false)], "Pod=7", "Pod=30"),
            (&[(listing(7, 20), true), (event(30), true)], "Pod=30", "Pod=30"),
            (&[(listing(7, 20), true), (event(30), false)], "Pod=7", "Pod=30"),
            (&[(listing(7, 20), true), (event(30), true), (event(25), true)], "Pod=30", "Pod=30"),
            (&[(listing(7, 20), true), (listing(9, 30), true)], "Pod=9", "Pod=30"),
            (&[(listing(7, 20), true), (listing(9, 30), false)], "Pod=7", "Pod=30"),
            (&[(event(30), true)], "Pod=30", "Pod=30"),
            (&[(listing(7, 20), true), (Reached::Somewhere, true)], "", ""),
        ] {
            let progress = pods(read);
            assert_eq!(
                (progress.newest_change, progress.read_through),
                (versions(newest_change), versions(through)),
                "{read:?}"
            );
        }
    }

    #[test]
    fn versions_that_went_back_are_believed() {
        let progress = pods(&[(listing(7, 20), true), (event(30), true), (listing(5, 10), true)]);
        assert_eq!(
            (&progress.newest_change, &progress.read_through),
            (&versions("Pod=5"), &versions("Pod=10"))
        );
        assert_eq!(progress.gaps(&versions("Pod=30")).len(), 1, "an agent that saw more is another matter");
    }

    #[test]
    fn only_what_an_agent_knows_is_waited_for() {
        let progress = pods(&[(listing(7, 20), true), (event(30), true), (bookmark(40), false)]);
        for served in ["", "Pod=0", "Pod=30", "Pod=40", "Pod=40,Node=99"] {
            assert_eq!(progress.gaps(&versions(served)), [], "{served}");
        }
        let gap = Gap { kind: Kind::Pod, wanted: version(41), reached: version(40) };
        assert_eq!(progress.gaps(&versions("Node=1,Pod=41")), [gap]);
        assert_eq!(gap.to_string(), "Pod read through 40, the agent is at 41");
    }

    #[test]
    fn what_was_read_is_not_yet_published() {
        let (mut record, mut progress) = ProgressRecord::new();
        record.read(KindProgress { kind: Kind::Pod, reached: listing(7, 20) }, true);
        assert_eq!(*progress.borrow().newest_change(), Versions::default());
        record.publishing();
        assert_eq!(*progress.borrow().newest_change(), versions("Pod=7"), "a state may know it from now on");
        assert_eq!(progress.borrow().read_through, Versions::default());
        assert!(!progress.has_changed().unwrap());
        record.published();
        assert!(progress.has_changed().unwrap());
        assert_eq!(progress.borrow_and_update().read_through, versions("Pod=20"));
        record.published();
        assert!(!progress.has_changed().unwrap(), "no news");
    }

    #[test]
    fn only_a_store_that_was_asked_since_can_be_found_to_have_gone_back() {
        let (mut record, mut progress) = ProgressRecord::new();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        record.read(KindProgress { kind: Kind::Pod, reached: listing(7, 20) }, true);
        record.publishing();
        record.published();
        let gap = progress.borrow_and_update().gaps(&versions("Pod=40"))[0];
        let mut asked = |version_at, seconds| {
            let reached = Reached::Store { at: version(version_at), asked: at(seconds) };
            record.read(KindProgress { kind: Kind::Pod, reached }, false);
            record.published();
            assert!(progress.has_changed().unwrap(), "who waits is to look again");
            progress.borrow_and_update().clone()
        };
        let before = asked(30, 10);
        assert!(!before.is_rewound(&gap, at(11)), "asked before");
        assert!(before.is_rewound(&gap, at(10)));
        assert_eq!(before.gaps(&versions("Pod=40")), [gap], "nothing was read by it");
        assert!(!asked(40, 20).is_rewound(&gap, at(10)), "it is there, and will be read");
        assert!(asked(39, 30).is_rewound(&gap, at(10)));
    }
}
