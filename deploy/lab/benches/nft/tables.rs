//! The tables that are changed: what the compiler makes of clusters that lead to them.

use std::fmt;
use std::sync::Arc;

use anyhow::Context as _;
use flock_compiler_core::object::Peer;
use flock_compiler_core::{Change, Edit, Labels, Selector, World, render, translate};
use flock_shapes::parts::{self, Pair};

use crate::ancestor::Ancestor;

/// Pods on the node, the usual limit of a kubelet.
const LOCAL: usize = 110;

/// The table of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeTable {
    /// 2,000 sets of 100 members.
    ManySets,
    /// One set of 100,000 members.
    LargeSet,
    /// 2,000 sets of 100 members, and 200 blocks with an `except` each.
    ManySetsAndBlocks,
}

/// The scripts for one of them.
pub(crate) struct Tables {
    pub(crate) which: NodeTable,
    /// The full script.
    pub(crate) full: String,
    /// The ancestor's.
    pub(crate) ancestor: String,
    /// A set of peers' addresses in the full script.
    pub(crate) set: String,
    /// The name of its marker set.
    pub(crate) marker: String,
}

impl NodeTable {
    pub(crate) const ALL: [Self; 3] = [Self::ManySets, Self::LargeSet, Self::ManySetsAndBlocks];

    /// Sets, members of each, and blocks.
    const fn counts(self) -> (usize, usize, usize) {
        match self {
            Self::ManySets => (2_000, 100, 0),
            Self::LargeSet => (1, 100_000, 0),
            Self::ManySetsAndBlocks => (2_000, 100, 200),
        }
    }
}

impl fmt::Display for NodeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ManySets => "2,000 sets × 100 members",
            Self::LargeSet => "a set of 100,000 members",
            Self::ManySetsAndBlocks => "2,000 sets × 100, 200 ipBlocks",
        })
    }
}

impl Tables {
    pub(crate) fn of(which: NodeTable) -> anyhow::Result<Self> {
        let world = world(which);
        let node = parts::node(0).name;
        let output = translate(&world).output(&node);
        let full = String::from_utf8(render(&output).bytes().to_vec())?;
        let names = full.lines().filter_map(|line| line.trim().strip_prefix("set pods4_"));
        // Sets of contested addresses and of subjects have other names; the largest is a set of peers.
        let set = names.filter_map(|line| line.strip_suffix(" {")).next().context("no set of addresses")?;
        let marker = format!("rev_{}", output.revision());
        let ancestor = Ancestor::new(&world).script(&node, usize::MAX).text;
        Ok(Self { which, set: format!("pods4_{set}"), marker, ancestor, full })
    }
}

/// The node's pods in one namespace, selected in turn by a policy for each set, each with a port of its own and one
/// namespace of peers, so that no two sets can be merged; and policies for the blocks, likewise.
fn world(which: NodeTable) -> World {
    let (sets, members, blocks) = which.counts();
    let (app, team): (Arc<str>, Arc<str>) = ("app".into(), "team".into());
    let app_of = |number: usize| -> Pair { (app.clone(), format!("app-{}", number % LOCAL).into()) };
    let node = parts::node(0);
    let own = parts::namespace_name("own");
    let (mut pods, mut policies) = (Vec::new(), Vec::new());
    let mut namespaces = vec![parts::namespace(own.clone(), [])];
    let mut allow = |number: usize, peer: Peer, port: u16| {
        let name = parts::object_name(&format!("policy-{port}"));
        let rules = vec![parts::rule([peer], [parts::tcp(port)])];
        policies.push(parts::policy(&own, &name, parts::labelled([&app_of(number)]), Some(rules), None));
    };
    for number in 0..LOCAL {
        let labels = [app_of(number)].into_iter().collect();
        let address = parts::address(number);
        pods.push(parts::pod(&own, &format!("pod-{number}"), Some(&node), labels, address, &[]));
    }
    for (set, port) in (0..sets).zip(1_000..) {
        let name = parts::namespace_name(&format!("peers-{set}"));
        let label: Pair = (team.clone(), format!("team-{set}").into());
        for member in 0..members {
            let address = parts::address(LOCAL + set * members + member);
            pods.push(parts::pod(&name, &format!("peer-{member}"), None, Labels::default(), address, &[]));
        }
        allow(set, parts::pods_in(parts::labelled([&label]), Selector::everything()), port);
        namespaces.push(parts::namespace(name, [label]));
    }
    for (number, port) in (0..blocks).zip(10_000..) {
        let second = u8::try_from(number).unwrap_or(u8::MAX);
        let block = parts::block(([192, second, 0, 0], 16), &[([192, second, 7, 0], 24)]);
        allow(number, block, port);
    }
    let mut world = World::default();
    world.apply(Change::Node(Edit::Replace(vec![node])));
    world.apply(Change::Namespace(Edit::Replace(namespaces)));
    world.apply(Change::Pod(Edit::Replace(pods)));
    world.apply(Change::Policy(Edit::Replace(policies)));
    world
}
