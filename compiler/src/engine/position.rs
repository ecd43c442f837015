//! Positions: how far into the cluster's history a state reaches, so that replicas can tell who is ahead.
//!
//! Of each kind two versions count. `seen` is the newest change that is part of the state: what an agent that has
//! applied the state knows. `through` is how far nothing is missing: what a replica must have read to serve that agent
//! without rolling it back. A quiet kind keeps its `seen`, so it never makes anybody wait.

use std::collections::BTreeMap;
use std::fmt;

use flock_proto::Position;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::source::{Kind, Progress, Reached, Version};

/// Versions by kind; of kinds that are absent nothing is known, and nothing is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Versions(BTreeMap<Kind, Version>);

impl Versions {
    /// What [`Versions::position`] wrote. Kinds and versions that mean nothing here are passed over: a later
    /// compiler may know more of them.
    #[must_use]
    pub fn of(position: &Position) -> Self {
        let text = std::str::from_utf8(position.as_bytes()).unwrap_or_default();
        let version = |(name, version): (&str, &str)| {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name)?;
            Some((kind, Version::from_short(version)?))
        };
        Self(text.split(',').filter_map(|entry| entry.split_once('=').and_then(version)).collect())
    }

    /// As agents carry it.
    #[must_use]
    pub fn position(&self) -> Position {
        // Six names and six numbers of at most 26 characters are shorter than any position may be.
        let entries = self.0.iter().map(|(kind, version)| format!("{kind}={}", version.short()));
        Position::new(entries.collect::<Vec<_>>().join(",").as_bytes()).unwrap_or_default()
    }

    /// The newer version of each kind.
    #[must_use]
    pub fn join(mut self, other: &Self) -> Self {
        for (kind, version) in &other.0 {
            let newest = self.0.entry(*kind).or_insert(*version);
            *newest = (*newest).max(*version);
        }
        self
    }

    /// The kinds in which these versions are beyond `through`, as far as both can be told.
    fn beyond(&self, through: &Self) -> Vec<Gap> {
        let gap = |(kind, wanted): (&Kind, &Version)| {
            let reached = through.0.get(kind).filter(|reached| *reached < wanted)?;
            Some(Gap { kind: *kind, wanted: *wanted, reached: *reached })
        };
        self.0.iter().filter_map(gap).collect()
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, version)) in self.0.iter().enumerate() {
            write!(f, "{}{kind}={version}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// A kind in which this replica is behind an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The kind.
    pub kind: Kind,
    /// What the agent's state knows.
    pub wanted: Version,
    /// How far this replica has read.
    pub reached: Version,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, wanted, reached } = self;
        write!(f, "{kind} read through {reached}, the agent is at {wanted}")
    }
}

/// How far the states that are published reach.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    seen: Versions,
    through: Versions,
    /// Where the store itself was when it was asked last, and when that was.
    store: BTreeMap<Kind, (Instant, Version)>,
}

impl Reach {
    /// The newest change of each kind that a published state knows. Taken after a state, it is never older than
    /// that one.
    #[must_use]
    pub const fn seen(&self) -> &Versions {
        &self.seen
    }

    /// Where the published states lack what a state at `wanted` knows; empty if nowhere.
    #[must_use]
    pub fn lacks(&self, wanted: &Versions) -> Vec<Gap> {
        wanted.beyond(&self.through)
    }

    /// Returns true if the store itself, asked after `since`, had not come to what an agent had applied before that. Then
    /// it never will: it has gone back.
    #[must_use]
    pub fn is_rewound(&self, gap: &Gap, since: Instant) -> bool {
        self.store.get(&gap.kind).is_some_and(|(asked, at)| *asked >= since && *at < gap.wanted)
    }
}

/// The engine's record of what it has read, and of what of it is published.
#[derive(Debug)]
pub(super) struct Positions {
    read: Reach,
    published: watch::Sender<Reach>,
}

impl Positions {
    pub(super) fn new() -> (Self, watch::Receiver<Reach>) {
        let (published, reach) = watch::channel(Reach::default());
        (Self { read: Reach::default(), published }, reach)
    }

    /// Takes down what a source has read; `changed`: whether that made a difference to the world.
    pub(super) fn read(&mut self, Progress { kind, reached }: Progress, changed: bool) {
        let Reach { seen: Versions(seen), through: Versions(through), store } = &mut self.read;
        let raise = |versions: &mut BTreeMap<Kind, Version>, version| {
            let newest = versions.entry(kind).or_insert(version);
            *newest = (*newest).max(version);
        };
        match reached {
            Reached::Listing { newest, through: listed } => {
                let before = through.insert(kind, listed);
                if before.is_some_and(|before| listed < before) {
                    tracing::warn!(%kind, %listed, "the versions of the API server went back: was it restored?");
                    seen.insert(kind, newest);
                } else if changed || before.is_none() {
                    raise(seen, newest);
                }
            }
            Reached::Event(version) => {
                raise(through, version);
                if changed {
                    raise(seen, version);
                }
            }
            Reached::Bookmark(version) => raise(through, version),
            Reached::Store { at, asked } => {
                store.insert(kind, (asked, at));
            }
            Reached::Somewhere => {
                seen.remove(&kind);
                through.remove(&kind);
                store.remove(&kind);
            }
        }
    }

    /// What has been read is about to be published: from now on a state may know it.
    pub(super) fn publishing(&self) {
        self.published.send_if_modified(|reach| {
            reach.seen.clone_from(&self.read.seen);
            // Nobody waits for this.
            false
        });
    }

    /// What has been read is published.
    pub(super) fn published(&self) {
        self.published.send_if_modified(|reach| {
            let further = reach.through != self.read.through || reach.store != self.read.store;
            reach.clone_from(&self.read);
            further
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn version(version: u32) -> Version {
        version.to_string().parse().unwrap()
    }

    fn versions(text: &str) -> Versions {
        Versions::of(&Position::new(text.as_bytes()).unwrap())
    }

    /// A record after what a source has read of pods; whether each made a difference.
    fn pods(read: &[(Reached, bool)]) -> Reach {
        let (mut positions, reach) = Positions::new();
        for (reached, changed) in read {
            positions.read(Progress { kind: Kind::Pod, reached: *reached }, *changed);
        }
        positions.publishing();
        positions.published();
        reach.borrow().clone()
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
    fn a_position_survives_the_way_to_an_agent_and_back() {
        let all = "Node=1,Namespace=2,Pod=340282366920938463463374607431768211455,NetworkPolicy=4";
        assert_eq!(versions(all).to_string(), all);
        assert_eq!(Versions::of(&versions(all).position()), versions(all));
        assert!(Versions::default().position().is_unknown());
        assert_eq!(versions("Later=9,Pod=3,Node=x,junk,,="), versions("Pod=3"));
        assert_eq!(Versions::of(&Position::new(b"\xff=1").unwrap()), Versions::default());
        let longest = Kind::ALL.map(|kind| (kind, u128::MAX.to_string().parse().unwrap()));
        assert!(!Versions(longest.into()).position().is_unknown(), "the longest fits");
    }

    #[test]
    fn what_was_seen_is_what_made_a_difference_and_what_was_read_is_everything() {
        for (read, seen, through) in [
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
            let reach = pods(read);
            assert_eq!((reach.seen, reach.through), (versions(seen), versions(through)), "{read:?}");
        }
    }

    #[test]
    fn versions_that_went_back_are_believed() {
        let reach = pods(&[(listing(7, 20), true), (event(30), true), (listing(5, 10), true)]);
        assert_eq!((&reach.seen, &reach.through), (&versions("Pod=5"), &versions("Pod=10")));
        assert_eq!(reach.lacks(&versions("Pod=30")).len(), 1, "an agent that saw more is another matter");
    }

    #[test]
    fn only_what_an_agent_knows_is_waited_for() {
        let reach = pods(&[(listing(7, 20), true), (event(30), true), (bookmark(40), false)]);
        for served in ["", "Pod=0", "Pod=30", "Pod=40", "Pod=40,Node=99"] {
            assert_eq!(reach.lacks(&versions(served)), [], "{served}");
        }
        let gap = Gap { kind: Kind::Pod, wanted: version(41), reached: version(40) };
        assert_eq!(reach.lacks(&versions("Node=1,Pod=41")), [gap]);
        assert_eq!(gap.to_string(), "Pod read through 40, the agent is at 41");
    }

    #[test]
    fn joined_versions_are_the_newer_ones() {
        let joined = versions("Node=1,Pod=5").join(&versions("Pod=4,Namespace=3"));
        assert_eq!(joined, versions("Node=1,Namespace=3,Pod=5"));
    }

    #[test]
    fn what_was_read_is_not_yet_published() {
        let (mut positions, mut reach) = Positions::new();
        positions.read(Progress { kind: Kind::Pod, reached: listing(7, 20) }, true);
        assert_eq!(*reach.borrow().seen(), Versions::default());
        positions.publishing();
        assert_eq!(*reach.borrow().seen(), versions("Pod=7"), "a state may know it from now on");
        assert_eq!(reach.borrow().through, Versions::default());
        assert!(!reach.has_changed().unwrap());
        positions.published();
        assert!(reach.has_changed().unwrap());
        assert_eq!(reach.borrow_and_update().through, versions("Pod=20"));
        positions.published();
        assert!(!reach.has_changed().unwrap(), "no news");
    }

    #[test]
    fn only_a_store_that_was_asked_since_can_be_found_to_have_gone_back() {
        let (mut positions, mut reach) = Positions::new();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        positions.read(Progress { kind: Kind::Pod, reached: listing(7, 20) }, true);
        positions.publishing();
        positions.published();
        let gap = reach.borrow_and_update().lacks(&versions("Pod=40"))[0];
        let mut asked = |version_at, seconds| {
            let reached = Reached::Store { at: version(version_at), asked: at(seconds) };
            positions.read(Progress { kind: Kind::Pod, reached }, false);
            positions.published();
            assert!(reach.has_changed().unwrap(), "who waits is to look again");
            reach.borrow_and_update().clone()
        };
        let before = asked(30, 10);
        assert!(!before.is_rewound(&gap, at(11)), "asked before");
        assert!(before.is_rewound(&gap, at(10)));
        assert_eq!(before.lacks(&versions("Pod=40")), [gap], "nothing was read by it");
        assert!(!asked(40, 20).is_rewound(&gap, at(10)), "it is there, and will be read");
        assert!(asked(39, 30).is_rewound(&gap, at(10)));
    }
}
