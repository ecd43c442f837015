#![doc = include_str!("../README.md")]

mod crowd;
mod dice;
mod event;
pub mod heavy;
mod mixture;
pub mod parts;
mod tenants;

use std::fmt;
use std::str::FromStr;

use flock_compiler_core::object::{Namespace, Node, Pod, Policy};
use flock_compiler_core::{Change, Edit};

pub use event::{Event, EventKind, Events, Reach};

/// A shape of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// Many small tenants: 25,000 namespaces of 4 pods (two `web`, `api`, `db`) and 3 policies; the 100,000 pods on
    /// random nodes of 1,000.
    ///
    /// The policies stay within their namespace: nothing at all for any pod in either direction; `web` from anywhere
    /// on two ports and to `api` on one; `api` and `db` from the namespace on two ports, and out to the namespace and
    /// to the internet (0.0.0.0/0 except 10.0.0.0/8) on one.
    S1,
    /// One crowd: a namespace of 10,000 pods on 100 nodes, and 10,000 policies that each select all of its pods and
    /// allow ingress from all of its pods on any port.
    S2,
    /// The largest cluster that Kubernetes promises: 150,000 pods, 10,000 namespaces, 10,000 policies, 5,000 nodes;
    /// single and several ports, named ports that mean different numbers, ranges, blocks with `except`, all
    /// operators, selectors across namespaces. The parts:
    ///
    /// - `telemetry`: an exporter on every node, open to the Prometheus pods only: a policy on every node.
    /// - `monitoring`: 20 Prometheus pods, which may reach all exporters.
    /// - `ingress`: 40 gateways, open to all, which may reach the `web` pods of all namespaces.
    /// - `dns`: 5 servers, open to the pods of all namespaces, which may reach port 53 anywhere.
    /// - `tenant-N`: the other namespaces, 14 or 15 pods each on random nodes (a third of them `web`, the rest
    ///   `api`, `worker`, `db` and `cache` in turn), ten namespaces to a team and two to a project, one policy each,
    ///   of seven kinds that take turns.
    S3,
}

/// How many objects of each kind a cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Nodes.
    pub nodes: usize,
    /// Namespaces.
    pub namespaces: usize,
    /// Pods.
    pub pods: usize,
    /// Network policies.
    pub policies: usize,
}

/// All objects of a cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The namespaces.
    pub namespaces: Vec<Namespace>,
    /// The pods.
    pub pods: Vec<Pod>,
    /// The network policies.
    pub policies: Vec<Policy>,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 3] = [Self::S1, Self::S2, Self::S3];

    /// The size of the whole cluster.
    #[must_use]
    pub const fn size(self) -> Size {
        match self {
            Self::S1 => Size { nodes: 1_000, namespaces: 25_000, pods: 100_000, policies: 75_000 },
            Self::S2 => Size { nodes: 100, namespaces: 1, pods: 10_000, policies: 10_000 },
            Self::S3 => Size { nodes: 5_000, namespaces: 10_000, pods: 150_000, policies: 10_000 },
        }
    }

    /// The whole cluster.
    #[must_use]
    pub fn cluster(self) -> Cluster {
        self.scaled(1)
    }

    /// A cluster of the same shape with so many times fewer objects of each kind, for tests; at least what makes the
    /// shape: in S3, 4 nodes, 24 namespaces, 200 pods and 26 policies.
    #[must_use]
    pub fn scaled(self, divisor: usize) -> Cluster {
        let part = |whole: usize, least: usize| (whole / divisor.max(1)).max(least);
        let Size { nodes, namespaces, pods, policies } = self.size();
        match self {
            Self::S1 => tenants::cluster(part(nodes, 1), part(namespaces, 1)),
            Self::S2 => crowd::cluster(part(nodes, 1), part(pods, 1), part(policies, 1)),
            Self::S3 => mixture::cluster(Size {
                nodes: part(nodes, 4),
                namespaces: part(namespaces, 24),
                pods: part(pods, 200),
                policies: part(policies, 26),
            }),
        }
    }

    /// One line that says what the shape is.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::S1 => {
                "25,000 namespaces × (4 pods, 3 policies within the namespace), pods on 1,000 random nodes"
            }
            Self::S2 => {
                "1 namespace, 10,000 pods, 10,000 policies that select all and allow from all, 100 nodes"
            }
            Self::S3 => {
                "150,000 pods, 10,000 namespaces, 10,000 policies with cross-namespace selectors, 5,000 nodes"
            }
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::S1 => "S1",
            Self::S2 => "S2",
            Self::S3 => "S3",
        })
    }
}

/// A string names no shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownShape(String);

impl fmt::Display for UnknownShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no shape: expected S1, S2 or S3", self.0)
    }
}

impl std::error::Error for UnknownShape {}

impl FromStr for Shape {
    type Err = UnknownShape;

    fn from_str(name: &str) -> Result<Self, UnknownShape> {
        let found = Self::ALL.into_iter().find(|shape| shape.to_string().eq_ignore_ascii_case(name));
        found.ok_or_else(|| UnknownShape(name.to_owned()))
    }
}

impl Cluster {
    /// How many objects there are.
    #[must_use]
    pub fn size(&self) -> Size {
        Size {
            nodes: self.nodes.len(),
            namespaces: self.namespaces.len(),
            pods: self.pods.len(),
            policies: self.policies.len(),
        }
    }

    /// The cluster as a source lists it when it starts: each kind once, whole.
    #[must_use]
    pub fn changes(self) -> [Change; 5] {
        [
            Change::Node(Edit::Replace(self.nodes)),
            Change::Namespace(Edit::Replace(self.namespaces)),
            Change::Pod(Edit::Replace(self.pods)),
            Change::Policy(Edit::Replace(self.policies)),
            Change::NodePods(Edit::Replace(Vec::new())),
        ]
    }
}
