//! The closed form: what is sent to a node that refuses the table that its objects ask for.
//!
//! ```text
//! forward  egress:  ct direction reply accept; mid-stream? then as below
//!          ingress: ct direction reply accept, then by verdict map `denied`; unready blocks: `denied`; else: open
//! denied:  related errors and neighbour discovery pass, everything else is counted and dropped
//! bridge   as ever, where pods hang on one: else an isolated pod would not be judged there
//! ```
//!
//! Whoever is isolated in a direction is denied everything new there. It holds the plainest constructs that do that:
//! sets and verdict maps of single addresses, comparisons, counters. No set of peers, no interval, no concatenation, no
//! lookup of routes, no answer: one of those may be what the kernel refuses. So it does without what only they can say:
//! pairs that always reach each other (a pod through its own Service), the check of sources and tunnels at interfaces, and
//! the exemption of the node's own addresses in guarded blocks, which hardly any forwarded packet has. Packets in
//! mid-stream are dropped instead of answered.

use smallvec::{SmallVec, smallvec};

use super::{Layout, pod, when};
use crate::nft::{
    ChainName, Element, Family, Field, Hook, Map, MapName, Match, Objects, Rule, SetType, Statement, Verdict,
};
use crate::object::Direction;
use crate::output::NodeRules;

/// All of a closed node's rules.
pub(super) fn table<O: Objects>(layout: &mut Layout<O>, node_rules: &NodeRules) {
    let open = Family::ALL.map(|family| (Element::Family(family), Verdict::Accept));
    layout
        .table
        .add_map(MapName::Open, Map { kind: SetType::Families, elements: open.into_iter().collect() });
    super::node_rules::dispatches(layout, node_rules);
    super::node_rules::isolated_sets(layout, &node_rules.isolated.iter());
    super::bridge::table(layout, node_rules);
    for (direction, hook) in
        [(Direction::Egress, Hook::ForwardFirst), (Direction::Ingress, Hook::ForwardSecond)]
    {
        let by = |fields, map| Rule { matches: SmallVec::new(), statement: Statement::Map(fields, map) };
        let mut judging = Vec::new();
        for family in layout.families() {
            judging.push(by(smallvec![pod(direction, family)], MapName::Dispatch(direction, family)));
        }
        for cidr in node_rules.guard.iter().flat_map(|guard| &guard.cidrs) {
            let pod = pod(direction, Family::of(&cidr.first()));
            let statement = Statement::Counted(Verdict::Goto(ChainName::Denied(direction)));
            judging.push(Rule { matches: smallvec![Match::Within(pod, *cidr)], statement });
        }
        judging.push(by(smallvec![Field::Family], MapName::Open));
        let mut rules = vec![when([Match::Reply], Verdict::Accept)];
        // Once is enough: the first base chain looks at both ends.
        if direction == Direction::Egress {
            rules.extend(super::mid_stream::rules_with(layout, [], &judging));
        }
        rules.extend(judging);
        layout.add_chain(ChainName::Base(direction), Some(hook), rules);
        let mut rules: Vec<Rule> =
            Family::ALL.map(|family| when([Match::RelatedError(family)], Verdict::Accept)).into();
        rules.push(when([Match::NeighbourDiscovery], Verdict::Accept));
        rules.push(Rule { matches: SmallVec::new(), statement: Statement::Counted(Verdict::Drop) });
        layout.add_chain(ChainName::Denied(direction), None, rules);
    }
}
