//! What is refused, and that the way from one table to another leads there.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use flock_nft::direction::Direction::Egress;
use flock_nft::identity::Name;
use flock_nft::members::Member;
use flock_nft::{Allow, Element, Family, Rule, Set, SetType, Statement, Verdict};

use super::*;

const PODS: SetName = SetName::Pods(Family::V4, Name::new(0, 1));
const RULES: ChainName = ChainName::RuleSet(Egress, Name::new(0, 1), Allow::Accept);
const DISPATCH: MapName = MapName::Dispatch(Egress, Family::V4);

fn pods(numbers: &[u8]) -> Set {
    let member = |number: &u8| Member { address: Ipv4Addr::new(10, 0, 0, *number), service: None };
    let content = Content::Members4(numbers.iter().map(member).collect());
    Set { kind: SetType::Addresses(Family::V4), content }
}

fn key(number: u8) -> Element {
    Element::Address([10, 0, 0, number].into())
}

fn rule(verdict: Verdict) -> Rule {
    Rule { matches: Vec::new().into(), statement: Statement::Verdict(verdict) }
}

/// A set of pods, a chain with this rule, and a map that sends the first pod to it, and one more pod somewhere.
fn table(members: &[u8], verdict: Verdict, second: Option<Verdict>) -> Table {
    let sent = [(key(1), Verdict::Goto(RULES))].into_iter().chain(second.map(|verdict| (key(2), verdict)));
    let elements = sent.collect();
    Table {
        sets: [(PODS, pods(members))].into(),
        maps: [(DISPATCH, Map { kind: SetType::Addresses(Family::V4), elements })].into(),
        chains: [(RULES, Chain { hook: None, rules: vec![rule(verdict)] })].into(),
        bridge: false,
    }
}

/// Tables that differ in all that a transaction may change.
fn tables() -> Vec<Table> {
    let mut bridged = table(&[1], Verdict::Accept, None);
    bridged.bridge = true;
    let ports = Set { kind: SetType::Interfaces, content: Content::Elements(BTreeSet::new()) };
    bridged.sets.insert(SetName::PodPorts, ports);
    vec![
        Table::default(),
        table(&[1, 2], Verdict::Accept, None),
        table(&[2, 3], Verdict::Drop, Some(Verdict::Drop)),
        table(&[3], Verdict::Drop, Some(Verdict::Accept)),
        bridged,
    ]
}

#[test]
fn the_way_between_any_two_tables_leads_there() {
    for (old, new) in tables().iter().flat_map(|old| tables().into_iter().map(move |new| (old, new))) {
        let mut table = old.clone();
        commit(&mut table, &Transaction::between(old, &new).unwrap()).unwrap();
        assert_eq!(table, new);
    }
}

#[test]
fn what_nft_or_the_kernel_would_refuse_is_refused() {
    let base = table(&[1, 2], Verdict::Accept, None);
    let refused = |transaction: Transaction| commit(&mut base.clone(), &transaction).unwrap_err();
    let added = |added: Table| refused(Transaction { added, ..Transaction::default() });
    let other_kind = Set { kind: SetType::Addresses(Family::V6), ..pods(&[9]) };
    assert_eq!(
        added(Table { sets: [(PODS, other_kind)].into(), ..Table::default() }),
        ApplyError::SetType(PODS)
    );
    let (maps, chains) = (base.maps.clone(), base.chains.clone());
    assert_eq!(added(Table { maps, ..Table::default() }), ApplyError::Key(DISPATCH), "a key that is there");
    assert_eq!(
        added(Table { chains, ..Table::default() }),
        ApplyError::Chain(RULES),
        "a chain that is there"
    );

    let lost = |name, set| refused(Transaction { lost: [(name, set)].into(), ..Transaction::default() });
    assert_eq!(lost(PODS, pods(&[2, 3])), ApplyError::NoElement(PODS));
    let other = SetName::Pods(Family::V4, Name::new(0, 2));
    assert_eq!(lost(other.clone(), pods(&[2])), ApplyError::Missing(other.to_string()));
    let lost_keys = [(DISPATCH, [key(2)].into())].into();
    assert_eq!(refused(Transaction { lost_keys, ..Transaction::default() }), ApplyError::Key(DISPATCH));

    let other = ChainName::RuleSet(Egress, Name::new(0, 2), Allow::Accept);
    let rewritten = [(other.clone(), Vec::new())].into();
    let transaction = Transaction { rewritten, ..Transaction::default() };
    assert_eq!(refused(transaction), ApplyError::Chain(other.clone()));
    let transaction = Transaction { removed_chains: [other.clone()].into(), ..Transaction::default() };
    assert_eq!(refused(transaction), ApplyError::Chain(other));
    let transaction = Transaction { removed_maps: [MapName::Open].into(), ..Transaction::default() };
    assert_eq!(refused(transaction), ApplyError::Missing(MapName::Open.to_string()));
    let transaction = Transaction { removed_sets: [SetName::PodLinks].into(), ..Transaction::default() };
    assert_eq!(refused(transaction), ApplyError::Missing(SetName::PodLinks.to_string()));
}

#[test]
fn a_delta_adds_parts_before_the_nodes_own_rules_and_removes_them_after() {
    let (full, empty) = (table(&[1], Verdict::Accept, None), Table::default());
    let own = |table: &Table| Table { maps: table.maps.clone(), ..Table::default() };
    let parts = |table: &Table| Table { maps: [].into(), ..table.clone() };
    let between = |old: &Table, new: &Table| Delta {
        parts: Transaction::between(&parts(old), &parts(new)).unwrap(),
        node_rules: Transaction::between(&own(old), &own(new)).unwrap(),
    };
    let mut table = empty.clone();
    apply(&mut table, &between(&empty, &full)).unwrap();
    assert_eq!(table, full);
    apply(&mut table, &between(&full, &empty)).unwrap();
    assert_eq!(table, empty);
}
