//! Rule sets that share a name.

use std::collections::BTreeMap;

use super::*;
use crate::block::Blocks;
use crate::collections::sorted::Sorted;
use crate::identity::Name;
use crate::object::Direction;
use crate::port::{PortRange, Protocol};
use crate::translate::budget::Budgets;
use crate::translate::index::peers::PeerIndex;
use crate::translate::rules::merge::PeerUnion;
use crate::translate::rules::rule_sets::IndexesMut;
use crate::translate::rules::shareable::rule_set;

/// What allows everybody a port, under a name of our choice.
fn merged(port: u16, name: u64) -> RuleSet {
    let everywhere = PeerUnion { pods: Sorted::new(), blocks: Blocks::everywhere() };
    let ports = [(PortRange::single(Protocol::Tcp, port), 0)];
    let (nobody, named, contested) = (PeerUnion::default(), Sorted::new(), BTreeMap::new());
    let rules = rule_set(Direction::Ingress, nobody, &ports, vec![everywhere], named, contested);
    RuleSet { name: Name::new(0, name), ..rules }
}

fn over(rule_sets: &RuleSets, id: RuleSetId) -> Option<OverBudget> {
    rule_sets.interner.there(id).unwrap().value.over
}

#[test]
fn rule_sets_of_one_name_are_closed_for_as_long_as_they_share_it() {
    let (mut cluster, mut peers) = (Cluster::default(), PeerIndex::default());
    let mut rule_sets = RuleSets::new(Budgets::default());
    let namespace = cluster.hold_namespace(&"shop".parse().unwrap());
    let mut indexes = IndexesMut { cluster: &mut cluster, peers: &mut peers };
    let [first, second] =
        [(80, 7), (443, 7)].map(|(port, name)| rule_sets.hold(merged(port, name), namespace, &mut indexes));
    let other = rule_sets.hold(merged(22, 8), namespace, &mut indexes);
    rule_sets.fill(indexes.cluster);
    rule_sets.sweep(&mut indexes);
    assert_eq!(rule_sets.review_names(indexes.cluster), [first, second]);
    assert_eq!(
        [first, second, other].map(|id| over(&rule_sets, id)),
        [Some(OverBudget::Ambiguous), Some(OverBudget::Ambiguous), None]
    );
    assert!(rule_sets.any_over_budget());
    rule_sets.release(second, namespace);
    rule_sets.sweep(&mut indexes);
    assert_eq!(rule_sets.review_names(indexes.cluster), [first]);
    assert_eq!([first, other].map(|id| over(&rule_sets, id)), [None, None]);
    assert!(!rule_sets.any_over_budget());
    assert_eq!(rule_sets.review_names(indexes.cluster), []);
}
