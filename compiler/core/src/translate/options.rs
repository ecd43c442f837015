//! How a world is translated: what an operator decides, and no object says.

use std::fmt;
use std::str::FromStr;

use crate::invariant::OnBreak;
use crate::translate::budget::Budgets;
use crate::world::Trust;

/// How a world is translated. Every replica must have the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// What happens to addresses that no known pod owns yet.
    pub unready_pods: UnreadyPods,
    /// Whether nodes take down what they drop, as far as they can.
    pub drops: KeepDrops,
    /// What is believed of what CNI says.
    pub trust: Trust,
    /// What policies may come to; a parameter, so that a test can exceed it.
    pub budgets: Budgets,
    /// What comes of a broken invariant; a parameter, so that a test can see what a release does.
    pub on_break: OnBreak,
}

/// Whether nodes take down the flows that policies deny there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeepDrops {
    /// Those whose agent and kernel can.
    #[default]
    On,
    /// None.
    Off,
}

impl KeepDrops {
    /// Both.
    pub const ALL: [Self; 2] = [Self::On, Self::Off];

    /// As the command line has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for KeepDrops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that says nothing of drops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected on or off")]
pub struct KeepDropsError;

impl FromStr for KeepDrops {
    type Err = KeepDropsError;

    fn from_str(text: &str) -> Result<Self, KeepDropsError> {
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or(KeepDropsError)
    }
}

/// What happens to an address in a node's pod CIDRs that no known pod owns yet: mostly that of a pod which has just
/// started, and whose address nobody has reported so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnreadyPods {
    /// As long as the cluster has a policy at all, the node forwards nothing to or from it: a pod is isolated from its
    /// first instant. The node itself reaches it.
    Drop,
    /// The same in each direction, but only while a pod is on its way to the node that a policy isolates in it, and while
    /// no compiler attends to the node.
    #[default]
    Expected,
    /// Nothing: a pod is open until the compiler has seen its address.
    Allow,
}

impl UnreadyPods {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Drop, Self::Expected, Self::Allow];

    /// As the command line has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Expected => "expected",
            Self::Allow => "allow",
        }
    }
}

impl fmt::Display for UnreadyPods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that says nothing of unready pods.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected drop, expected or allow")]
pub struct UnreadyPodsError;

impl FromStr for UnreadyPods {
    type Err = UnreadyPodsError;

    fn from_str(text: &str) -> Result<Self, UnreadyPodsError> {
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or(UnreadyPodsError)
    }
}
