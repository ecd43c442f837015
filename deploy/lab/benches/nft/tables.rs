//! The tables that are changed: what the compiler makes of clusters that lead to them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use flock_compiler_core::object::Peer;
use flock_compiler_core::{Change, Edit, Labels, Selector, Translator, World, render};
use flock_shapes::parts::{self, Pair};
use flock_shared::NodeName;

use crate::ancestor::Ancestor;
use crate::changes::text;

/// The namespace that gains pods and loses them.
pub(crate) const PEERS: &str = "peers-0";

/// Pods on the node, the usual limit of a kubelet.
const LOCAL: usize = 110;

/// The table of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeTable {
    /// 1,200 sets of 70 members: with the port maps of the node's pods and the blocks of the third, nearly as many sets as
    /// a node's table may have, and no more elements than the ancestor can be given in one transaction.
    ManySets,
    /// One set of 90,000 members.
    LargeSet,
    /// 1,200 sets of 70 members, and 200 blocks with an `except` each.
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
    /// The compiler, which has made it.
    pub(crate) translator: Translator,
    pub(crate) node: NodeName,
}

impl NodeTable {
    pub(crate) const ALL: [Self; 3] = [Self::ManySets, Self::LargeSet, Self::ManySetsAndBlocks];

    /// Sets, members of each, and blocks.
    const fn counts(self) -> (usize, usize, usize) {
        match self {
            Self::ManySets => (1_200, 70, 0),
            Self::LargeSet => (1, 90_000, 0),
            Self::ManySetsAndBlocks => (1_200, 70, 200),
        }
    }
}

impl fmt::Display for NodeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ManySets => "1,200 sets × 70 members",
            Self::LargeSet => "a set of 90,000 members",
            Self::ManySetsAndBlocks => "1,200 sets × 70, 200 ipBlocks",
        })
    }
}

impl Tables {
    pub(crate) fn of(which: NodeTable) -> anyhow::Result<Self> {
        let world = world(which);
        let node = parts::node(0).name;
        let mut translator = Translator::new();
        changes(&world).into_iter().for_each(|change| _ = translator.apply(change));
        let changes = translator.pass().changes;
        if let [problem, ..] = &*translator.problems() {
            bail!("{which} is no table that a node is given: {problem}");
        }
        let change = changes.iter().find(|change| *change.after.node() == node);
        let full = text(&render(&change.context("the node has no table")?.after))?;
        let members = widest(&full);
        let (set, members) = members.with_context(|| format!("{which}: no set of pods in the script"))?;
        let (_, expected, _) = which.counts();
        ensure!(members == expected, "{which}: a set has {members} members");
        let ancestor = Ancestor::new(&world).script(&node, usize::MAX).text;
        Ok(Self { which, set, translator, node, ancestor, full })
    }
}

/// The set of pods' addresses with most members in a script, which may declare it again to add to it.
fn widest(script: &str) -> Option<(String, usize)> {
    let mut sets: BTreeMap<&str, usize> = BTreeMap::new();
    let mut within = None;
    for line in script.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words {
            ["set", name, "{"] => within = Some(name).filter(|name| name.starts_with("pods4_")),
            ["chain" | "map", _, "{"] => within = None,
            _ => {
                let addresses =
                    words.iter().filter(|word| word.trim_end_matches(',').parse::<Ipv4Addr>().is_ok());
                if let Some(name) = within {
                    *sets.entry(name).or_default() += addresses.count();
                }
            }
        }
    }
    sets.into_iter().max_by_key(|(_, members)| *members).map(|(name, members)| (name.to_owned(), members))
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
        let name = parts::namespace_name(&if set == 0 { PEERS.to_owned() } else { format!("peers-{set}") });
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
    for change in [
        Change::Node(Edit::Replace(vec![node])),
        Change::Namespace(Edit::Replace(namespaces)),
        Change::Pod(Edit::Replace(pods)),
        Change::Policy(Edit::Replace(policies)),
        Change::NodePods(Edit::Replace(Vec::new())),
    ] {
        world.apply(change);
    }
    world
}

/// What makes a world of nothing.
fn changes(world: &World) -> [Change; 5] {
    [
        Change::Node(Edit::Replace(world.nodes().values().map(|it| (**it).clone()).collect())),
        Change::Namespace(Edit::Replace(world.namespaces().values().map(|it| (**it).clone()).collect())),
        Change::Pod(Edit::Replace(world.pods().values().map(|it| (**it).clone()).collect())),
        Change::Policy(Edit::Replace(world.policies().values().map(|it| (**it).clone()).collect())),
        Change::NodePods(Edit::Replace(world.node_pods().values().map(|it| (**it).clone()).collect())),
    ]
}
