//! The rulesets that are compared, and the way that packets take through the node under each.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::ensure;
use flock_compiler_core::nft::read::GRAMMAR;
use flock_compiler_core::object::Facts;
use flock_compiler_core::{Change, Edit, KeepDrops, World, render, translate};

use crate::ancestor::{self, Ancestor};
use crate::clusters;

/// The table of family bridge that stands beside ours.
const BRIDGE_TABLE: &str = "bridge flock_netpol";
/// What takes down a flow that is dropped.
const KEPT: &str = "goto egress_unkept4";
/// What sends to a chain of its own whatever begins in mid-stream.
const TO_MID_STREAM: &str = "goto midstream";

/// Removes every ruleset of the bench.
pub(crate) fn clean() -> String {
    let tables = [flock_shared::TABLE, BRIDGE_TABLE, ancestor::TABLE, "inet other"];
    tables.iter().map(|table| format!("add table {table}\ndelete table {table}\n")).collect()
}

/// A ruleset on a way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) way: Way,
    pub(crate) rules: Rules,
}

/// How packets get from one pod to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The node routes them.
    Routed,
    /// A bridge forwards them, and shows them to the rules (`bridge-nf-call-iptables`).
    Bridged,
}

/// A ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rules {
    /// None at all: connection tracking is off, too.
    None,
    /// One rule that makes the kernel track connections, on the same hook.
    Conntrack,
    /// Ours, with this number of pods on the node.
    Ours(usize),
    /// Ours without the rules that send aside what begins in mid-stream.
    WithoutMidStream(usize),
    /// Ours where the node counts what it drops, and takes down no flow of it.
    WithoutDrops(usize),
    /// The ancestor's, with this number of pods: one jump per pod and direction.
    Ancestor(usize),
    /// Ours, with this number of policies that select the server, on such ports.
    Policies(usize, Ports),
    /// A script of the caller's.
    File(PathBuf),
}

/// What the ports of many policies have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ports {
    /// They are the same two.
    Same,
    /// Each policy has a port of its own.
    Distinct,
    /// Each policy has a range of 18 ports of its own.
    Ranges,
}

impl Ports {
    pub(crate) const ALL: [Self; 3] = [Self::Same, Self::Distinct, Self::Ranges];
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Same => "same",
            Self::Distinct => "distinct",
            Self::Ranges => "ranges",
        })
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|ports| ports.to_string() == name);
        found.ok_or_else(|| "expected same, distinct or ranges".to_owned())
    }
}

impl Layout {
    /// What the node is given.
    ///
    /// # Errors
    /// Where the ruleset is not what its row says.
    pub(crate) fn script(&self) -> anyhow::Result<String> {
        match &self.rules {
            Rules::None => Ok(String::from("add table inet other\n")),
            Rules::Conntrack => Ok(String::from(
                "table inet other {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n\
                 \t\tct direction reply accept\n\t}\n}\n",
            )),
            Rules::Ours(pods) => self.ours(clusters::of_pods(*pods), KeepDrops::On),
            Rules::WithoutDrops(pods) => self.ours(clusters::of_pods(*pods), KeepDrops::Off),
            Rules::WithoutMidStream(pods) => {
                let script = self.ours(clusters::of_pods(*pods), KeepDrops::On)?;
                let (aside, others): (Vec<&str>, Vec<&str>) =
                    script.split_inclusive('\n').partition(|line| line.trim_end().ends_with(TO_MID_STREAM));
                ensure!(!aside.is_empty(), "no rule of ours ends in `{TO_MID_STREAM}`");
                Ok(others.concat())
            }
            Rules::Ancestor(pods) => {
                let world = clusters::of_pods(*pods);
                Ok(Ancestor::new(&world).script(&clusters::node(), usize::MAX).text)
            }
            Rules::Policies(policies, ports) => {
                self.ours(clusters::of_policies(*policies, *ports), KeepDrops::On)
            }
            Rules::File(path) => Ok(std::fs::read_to_string(path)?),
        }
    }

    fn ours(&self, mut world: World, drops: KeepDrops) -> anyhow::Result<String> {
        let facts = match self.way {
            Way::Routed => Facts::nothing_of(clusters::node()),
            Way::Bridged => clusters::bridged(),
        };
        // As an agent of this build says it.
        let facts = Facts { grammar: GRAMMAR, drops: drops == KeepDrops::On, ..facts };
        world.apply(Change::Facts(Edit::Upsert(facts)));
        let translation = translate(&world);
        if let [problem, ..] = translation.problems() {
            anyhow::bail!("the cluster of {self} has a problem: {problem}");
        }
        let script = render(&translation.output(&clusters::node()));
        let script = String::from_utf8(script.bytes().to_vec())?;
        let keeps_drops = script.contains(KEPT);
        ensure!(keeps_drops == (drops == KeepDrops::On), "{self}: drops were expected to be {drops}");
        let judges_frames = script.contains("\tchain frames {");
        ensure!(
            judges_frames == (self.way == Way::Bridged),
            "{self}: a table of family bridge was expected to be there on a bridge, and only there"
        );
        Ok(script)
    }

    /// Returns true if it lets nothing pass but what policies allow.
    pub(crate) const fn judges(&self) -> bool {
        match self.rules {
            Rules::None | Rules::Conntrack | Rules::File(_) => false,
            Rules::Ours(_)
            | Rules::WithoutMidStream(_)
            | Rules::WithoutDrops(_)
            | Rules::Ancestor(_)
            | Rules::Policies(..) => true,
        }
    }

    /// Returns true if what it drops is measured, too.
    pub(crate) const fn drops(&self) -> bool {
        matches!(self.rules, Rules::Ours(_) | Rules::WithoutDrops(_))
    }

    /// The same way under another ruleset.
    pub(crate) const fn with(&self, rules: Rules) -> Self {
        Self { way: self.way, rules }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rules {
            Rules::None => f.write_str("no ruleset"),
            Rules::Conntrack => f.write_str("one conntrack rule"),
            Rules::Ours(pods) => write!(f, "ours, {pods} pods"),
            Rules::WithoutMidStream(pods) => write!(f, "ours, {pods} pods, without mid-stream rules"),
            Rules::WithoutDrops(pods) => write!(f, "ours, {pods} pods, drops off"),
            Rules::Ancestor(pods) => write!(f, "ancestor, {pods} pods"),
            Rules::Policies(policies, Ports::Same) => write!(f, "ours, {policies} policies, same ports"),
            Rules::Policies(policies, Ports::Distinct) => {
                write!(f, "ours, {policies} policies, distinct ports")
            }
            Rules::Policies(policies, Ports::Ranges) => write!(f, "ours, {policies} policies, port ranges"),
            Rules::File(path) => write!(f, "{}", path.display()),
        }?;
        f.write_str(if self.way == Way::Bridged { ", on a bridge" } else { "" })
    }
}
