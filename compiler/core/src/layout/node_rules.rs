//! What a node's rules are laid out to: the base chains, which are there whether or not anything is isolated, and the
//! elements that send each pod to its chain and let other known addresses pass.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::{Layout, guard, pod, when};
use crate::nft::{
    Allow, ChainName, Content, Element, Family, Field, Hook, Map, MapName, Match, Objects, Rule, SetName,
    SetType, Statement, Verdict,
};
use crate::object::Direction;
use crate::output::{Drops, IsolatedPod, Isolation, NodeRules, PodCidrGuard, RuleSet};

/// All but the chains of rule sets and the sets that they look up.
pub(crate) fn all<O: Objects>(layout: &mut Layout<O>, node_rules: &NodeRules) {
    base_chains(layout, node_rules.guard.as_deref(), node_rules.drops);
    dispatches(layout, node_rules);
    let isolated = node_rules.isolated.iter();
    hairpins(layout, &isolated);
    isolated_sets(layout, &isolated);
    super::source_check::entering(layout, node_rules);
    super::bridge::table(layout, node_rules);
}

/// The dispatch maps, whole.
pub(super) fn dispatches<O: Objects>(layout: &mut Layout<O>, node_rules: &NodeRules) {
    let isolated = node_rules.isolated.iter();
    for direction in Direction::ALL {
        let known = node_rules.guard.iter().flat_map(|guard| guard.known());
        let others = known.filter(|address| node_rules.isolated.get(address).is_none());
        let all = isolated.clone().map(|(address, pod)| (*address, Some(pod)));
        dispatch(
            layout,
            direction,
            all.chain(others.map(|address| (address, None))),
            node_rules.guard.as_deref(),
        );
    }
}

/// The two base chains and the chains that end in drop.
pub(crate) fn base_chains<O: Objects>(layout: &mut Layout<O>, guard: Option<&PodCidrGuard>, drops: Drops) {
    // A map and not a rule, for its elements are gone as soon as the table is: see the head of this room.
    let open = Family::ALL.map(|family| (Element::Family(family), Verdict::Accept));
    layout
        .table
        .add_map(MapName::Open, Map { kind: SetType::Families, elements: open.into_iter().collect() });
    if guard::asks_who_attends(guard) {
        let nobody = Content::Elements(BTreeSet::new());
        layout.add_set(SetName::Attended, SetType::TimedFamilies, nobody);
    }
    for (direction, hook) in
        [(Direction::Egress, Hook::ForwardFirst), (Direction::Ingress, Hook::ForwardSecond)]
    {
        // Replies first: rules judge how a connection begins, and most packets need no more than this.
        let mut rules = vec![when([Match::Reply], Verdict::Accept)];
        let judging = judging(layout, direction, guard);
        // Once is enough: the first base chain looks at both ends.
        if direction == Direction::Egress {
            rules.extend(super::mid_stream::rules(layout, &judging));
        }
        rules.extend(judging);
        layout.add_chain(ChainName::Base(direction), Some(hook), rules);
        let mut rules = Vec::new();
        for family in layout.families() {
            let pair = smallvec![Field::Source(family), Field::Destination(family)];
            rules.push(when([Match::In(pair, SetName::Hairpin(family))], Verdict::Accept));
        }
        rules.extend(Family::ALL.map(|family| when([Match::RelatedError(family)], Verdict::Accept)));
        rules.push(when([Match::NeighbourDiscovery], Verdict::Accept));
        if drops == Drops::Kept {
            rules.extend(super::drops::rules(layout, direction));
        }
        // Also behind the rules that keep drops: whatever becomes of their sets, the packet ends here.
        rules.push(Rule { matches: SmallVec::new(), statement: Statement::Counted(Verdict::Drop) });
        layout.add_chain(ChainName::Denied(direction), None, rules);
    }
}

/// The rules of a base chain that send a packet to where its direction is judged.
fn judging<O: Objects>(layout: &Layout<O>, direction: Direction, guard: Option<&PodCidrGuard>) -> Vec<Rule> {
    let dispatch = |family| Rule {
        matches: SmallVec::new(),
        statement: Statement::Map(smallvec![pod(direction, family)], MapName::Dispatch(direction, family)),
    };
    let mut rules: Vec<Rule> = layout.families().map(dispatch).collect();
    // Behind the dispatch, which has a verdict for every known address.
    rules.extend(guard.into_iter().flat_map(|guard| guard::rules(direction, guard)));
    rules.push(Rule {
        matches: SmallVec::new(),
        statement: Statement::Map(smallvec![Field::Family], MapName::Open),
    });
    rules
}

/// The dispatch maps of a direction, with the elements of these addresses, of which some are isolated.
pub(crate) fn dispatch<'a, O: Objects>(
    layout: &mut Layout<O>,
    direction: Direction,
    addresses: impl Iterator<Item = (IpAddr, Option<&'a IsolatedPod>)>,
    guard: Option<&PodCidrGuard>,
) {
    let mut found: [Vec<(Element, Verdict)>; 2] = Default::default();
    for (address, pod) in addresses {
        let isolation = pod.map_or(&Isolation::Open, |pod| pod.isolation(direction));
        if let Isolation::All(rule_sets) = isolation {
            all_of(layout, direction, address, rule_sets);
        }
        let verdict = verdict(direction, address, isolation, guard);
        let [v4, v6] = &mut found;
        let of_family = if address.is_ipv4() { v4 } else { v6 };
        of_family.extend(verdict.map(|verdict| (Element::Address(address), verdict)));
    }
    for (family, found) in Family::ALL.into_iter().zip(found) {
        if layout.families().any(|present| present == family) {
            // Also without elements: the base chains look it up.
            let map = Map { kind: SetType::Addresses(family), elements: found.into_iter().collect() };
            layout.table.add_map(MapName::Dispatch(direction, family), map);
        }
    }
}

/// The hairpin sets, with the elements of these isolated pods.
pub(crate) fn hairpins<'a, O: Objects>(
    layout: &mut Layout<O>,
    isolated: &(impl Iterator<Item = (&'a IpAddr, &'a IsolatedPod)> + Clone),
) {
    for family in layout.families() {
        let here = isolated.clone().filter(|(address, _)| Family::of(address) == family);
        let pairs = here.flat_map(|(address, pod)| {
            // With itself, too: a pod may meet itself through its own Service.
            let others = std::iter::once(address).chain(&pod.siblings);
            others.map(|other| Element::Pair(*address, *other))
        });
        let pairs = Content::Elements(pairs.collect());
        layout.add_set(SetName::Hairpin(family), SetType::AddressPairs(family), pairs);
    }
}

/// The sets of isolated addresses, with those of these isolated pods.
pub(crate) fn isolated_sets<'a, O: Objects>(
    layout: &mut Layout<O>,
    isolated: &(impl Iterator<Item = (&'a IpAddr, &'a IsolatedPod)> + Clone),
) {
    for family in layout.families() {
        let here = isolated.clone().filter(|(address, _)| Family::of(address) == family);
        let addresses = here.map(|(address, _)| Element::Address(*address)).collect();
        let content = Content::Elements(addresses);
        layout.add_set(SetName::Isolated(family), SetType::Addresses(family), content);
    }
}

/// A chain that passes what every rule set of a contested address allows.
fn all_of<O: Objects>(
    layout: &mut Layout<O>,
    direction: Direction,
    address: IpAddr,
    rule_sets: &[Arc<RuleSet>],
) {
    let gate = |set: &Arc<RuleSet>| ChainName::RuleSet(direction, set.name, Allow::Return);
    // By `jump`: a gate comes back with what it allows, and itself ends in the drop of what it denies.
    let mut rules: Vec<Rule> = rule_sets.iter().map(|set| when([], Verdict::Jump(gate(set)))).collect();
    // Whatever comes back from all gates is allowed by every owner.
    rules.push(when([], Verdict::Accept));
    layout.add_chain(ChainName::All(direction, address), None, rules);
}

/// What the dispatch says of an address: an isolated one is sent to its chain; an open one passes, if it would be isolated
/// were it not known. `None`: nothing.
pub(crate) fn verdict(
    direction: Direction,
    address: IpAddr,
    isolation: &Isolation,
    guard: Option<&PodCidrGuard>,
) -> Option<Verdict> {
    let chain = match isolation {
        Isolation::Open => {
            return guard.is_some_and(|guard| guard.is_known(address)).then_some(Verdict::Accept);
        }
        Isolation::Closed => ChainName::Denied(direction),
        Isolation::Rules(rules) => ChainName::RuleSet(direction, rules.name, Allow::Accept),
        Isolation::All(_) => ChainName::All(direction, address),
    };
    Some(Verdict::Goto(chain))
}
