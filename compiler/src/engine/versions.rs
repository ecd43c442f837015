//! Versions of the cluster's kinds: where a state is in the cluster's history, as agents carry it from replica to replica.

use std::collections::BTreeMap;
use std::fmt;

use flock_proto::Position;

use crate::source::{Kind, Version};

/// Versions by kind; of kinds that are absent nothing is known, and nothing is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Versions(pub(super) BTreeMap<Kind, Version>);

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
    pub(super) fn beyond(&self, through: &Self) -> Vec<Gap> {
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::engine) fn versions(text: &str) -> Versions {
        Versions::of(&Position::new(text.as_bytes()).unwrap())
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
    fn joined_versions_are_the_newer_ones() {
        let joined = versions("Node=1,Pod=5").join(&versions("Pod=4,Namespace=3"));
        assert_eq!(joined, versions("Node=1,Namespace=3,Pod=5"));
    }
}
