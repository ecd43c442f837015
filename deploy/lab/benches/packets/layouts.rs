//! The rulesets that are compared.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use flock_compiler_core::{World, render, translate};

use crate::ancestor::{self, Ancestor};
use crate::clusters;

/// Removes every ruleset of the bench.
pub(crate) fn clean() -> String {
    let tables = [flock_shared::TABLE, ancestor::TABLE, "inet other"];
    tables.iter().map(|table| format!("add table {table}\ndelete table {table}\n")).collect()
}

/// A ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// None at all: connection tracking is off, too.
    None,
    /// One rule that makes the kernel track connections, on the same hook.
    Conntrack,
    /// Ours, with this number of pods on the node.
    Ours(usize),
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
    pub(crate) fn script(&self) -> anyhow::Result<String> {
        match self {
            Self::None => Ok(String::from("add table inet other\n")),
            Self::Conntrack => Ok(String::from(
                "table inet other {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n\
                 \t\tct direction reply accept\n\t}\n}\n",
            )),
            Self::Ours(pods) => ours(&clusters::of_pods(*pods)),
            Self::Ancestor(pods) => {
                let world = clusters::of_pods(*pods);
                Ok(Ancestor::new(&world).script(&clusters::node(), usize::MAX).text)
            }
            Self::Policies(policies, ports) => ours(&clusters::of_policies(*policies, *ports)),
            Self::File(path) => Ok(std::fs::read_to_string(path)?),
        }
    }
}

fn ours(world: &World) -> anyhow::Result<String> {
    let script = render(&translate(world).output(&clusters::node()));
    Ok(String::from_utf8(script.bytes().to_vec())?)
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no ruleset"),
            Self::Conntrack => f.write_str("one conntrack rule"),
            Self::Ours(pods) => write!(f, "ours, {pods} pods"),
            Self::Ancestor(pods) => write!(f, "ancestor, {pods} pods"),
            Self::Policies(policies, Ports::Same) => write!(f, "ours, {policies} policies, same ports"),
            Self::Policies(policies, Ports::Distinct) => {
                write!(f, "ours, {policies} policies, distinct ports")
            }
            Self::Policies(policies, Ports::Ranges) => write!(f, "ours, {policies} policies, port ranges"),
            Self::File(path) => f.pad(&path.display().to_string()),
        }
    }
}
