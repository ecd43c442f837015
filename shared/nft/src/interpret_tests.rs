//! The way of a packet through chains, and what the kernel would not load.

use std::collections::{BTreeMap, BTreeSet};

use crate::direction::Direction::{self, Egress, Ingress};
use crate::identity::Name;
use crate::{Allow, Rule, Set};

use super::*;

const SOURCE: [u8; 4] = [10, 0, 0, 1];
const DESTINATION: [u8; 4] = [10, 0, 0, 2];

fn packet(destination_port: u16) -> Packet {
    let transport = Transport::Ports { protocol: Protocol::Tcp, destination_port };
    Packet::first(SOURCE.into(), DESTINATION.into(), transport)
}

fn chain(number: u64) -> ChainName {
    ChainName::RuleSet(Egress, Name::new(0, number), Allow::Accept)
}

fn always(verdict: Verdict) -> Rule {
    Rule { matches: Vec::new().into(), statement: Statement::Verdict(verdict) }
}

/// Both base chains; the first has these rules, and the second accepts.
fn table(first: Vec<Rule>, others: impl IntoIterator<Item = (ChainName, Vec<Rule>)>) -> Table {
    let base =
        |direction: Direction, hook, rules| (ChainName::Base(direction), Chain { hook: Some(hook), rules });
    let mut chains: BTreeMap<_, _> = [
        base(Egress, Hook::ForwardFirst, first),
        base(Ingress, Hook::ForwardSecond, vec![always(Verdict::Accept)]),
    ]
    .into();
    chains.extend(others.into_iter().map(|(name, rules)| (name, Chain { hook: None, rules })));
    Table { chains, ..Table::default() }
}

fn passes(table: &Table) -> bool {
    judge(table, &packet(80)).unwrap()
}

#[test]
fn accept_ends_one_base_chain_and_drop_all() {
    let mut both = table(vec![always(Verdict::Accept)], []);
    assert!(passes(&both));
    for last in [Statement::Verdict(Verdict::Drop), Statement::Counted(Verdict::Drop), Statement::Reset] {
        let rules = vec![Rule { matches: Vec::new().into(), statement: last }];
        both.chains.get_mut(&ChainName::Base(Ingress)).unwrap().rules = rules;
        assert!(!passes(&both), "the second is asked all the same");
    }
    assert!(!passes(&table(vec![], [])), "the policy of a base chain is drop");
    assert!(!passes(&table(vec![always(Verdict::Return)], [])));
}

#[test]
fn a_jump_comes_back_and_a_goto_does_not() {
    for (verdict, expected) in [(Verdict::Jump(chain(1)), true), (Verdict::Goto(chain(1)), false)] {
        let rules = vec![always(verdict), always(Verdict::Accept)];
        assert_eq!(passes(&table(rules.clone(), [(chain(1), vec![])])), expected, "it ends");
        let returns = vec![always(Verdict::Return), always(Verdict::Drop)];
        assert_eq!(passes(&table(rules, [(chain(1), returns)])), expected, "it returns");
    }
    // Back from the second to where the first was jumped to from.
    let rules = vec![always(Verdict::Jump(chain(1))), always(Verdict::Accept)];
    let others =
        [(chain(1), vec![always(Verdict::Goto(chain(2))), always(Verdict::Drop)]), (chain(2), vec![])];
    assert!(passes(&table(rules, others)));
}

#[test]
fn chains_may_nest_so_deep_and_no_deeper() {
    let nested = |depth: u64| {
        let others =
            (1..=depth).map(|number| (chain(number), vec![always(Verdict::Jump(chain(number + 1)))]));
        let last = (chain(depth + 1), vec![always(Verdict::Accept)]);
        judge(&table(vec![always(Verdict::Jump(chain(1)))], others.chain([last])), &packet(80))
    };
    assert_eq!(nested(JUMP_LIMIT as u64 - 1), Ok(true));
    assert_eq!(nested(JUMP_LIMIT as u64), Err(InterpretError::TooDeep));
    let circle =
        table(vec![always(Verdict::Jump(chain(1)))], [(chain(1), vec![always(Verdict::Goto(chain(1)))])]);
    assert_eq!(judge(&circle, &packet(80)), Err(InterpretError::TooDeep));
}

#[test]
fn a_map_without_the_key_goes_on_with_the_next_rule() {
    let map = MapName::Ports(Egress, Name::new(0, 1), Allow::Accept);
    let fields = [Field::Protocol, Field::DestinationPort];
    let lookup = Rule {
        matches: Vec::new().into(),
        statement: Statement::Map(fields.into_iter().collect(), map.clone()),
    };
    let mut table = table(vec![lookup, always(Verdict::Drop)], []);
    let key = Element::Ports(PortRange::single(Protocol::Tcp, 80));
    let elements = BTreeMap::from([(key, Verdict::Accept)]);
    table.maps.insert(map.clone(), Map { kind: SetType::Ports, elements });
    assert_eq!([80, 81].map(|port| judge(&table, &packet(port))), [Ok(true), Ok(false)]);
    table.maps.get_mut(&map).unwrap().kind = SetType::Families;
    assert_eq!(
        judge(&table, &packet(80)),
        Err(InterpretError::Mismatch(fields.to_vec(), SetType::Families)),
        "keys of another kind"
    );
}

#[test]
fn all_conditions_of_a_rule_must_hold() {
    let hairpin = SetName::Hairpin(Family::V4);
    let pair = [Field::Source(Family::V4), Field::Destination(Family::V4)];
    let in_set = Match::In(pair.into_iter().collect(), hairpin.clone());
    let rule = |matches: Vec<Match>| Rule {
        matches: matches.into(),
        statement: Statement::Verdict(Verdict::Accept),
    };
    let with = |matches: Vec<Match>| {
        let mut table = table(vec![rule(matches)], []);
        let pair = Element::Pair(SOURCE.into(), DESTINATION.into());
        let content = Content::Elements(BTreeSet::from([pair]));
        table.sets.insert(hairpin.clone(), Set { kind: SetType::AddressPairs(Family::V4), content });
        table
    };
    assert!(passes(&with(vec![in_set.clone()])));
    assert!(!passes(&with(vec![in_set.clone(), Match::Reply])));
    assert!(passes(&with(vec![in_set, Match::Protocol(Protocol::Tcp)])));
}

#[test]
fn what_is_not_there_is_an_error() {
    let judged = |rule| judge(&table(vec![rule], []), &packet(80));
    assert_eq!(judged(always(Verdict::Goto(chain(1)))), Err(InterpretError::NoChain(chain(1))));
    let (set, map) = (SetName::PodLinks, MapName::Open);
    let in_set = Match::In([Field::Inbound].into_iter().collect(), set.clone());
    let rule = Rule { matches: vec![in_set].into(), ..always(Verdict::Accept) };
    assert_eq!(judged(rule), Err(InterpretError::NoSet(set)));
    let lookup = Statement::Map([Field::Family].into_iter().collect(), map.clone());
    let rule = Rule { matches: Vec::new().into(), statement: lookup };
    assert_eq!(judged(rule), Err(InterpretError::NoMap(map)));
    let rule = Rule { matches: vec![Match::NotLocal(Field::Family)].into(), ..always(Verdict::Accept) };
    assert_eq!(judged(rule), Err(InterpretError::NoAddress(Field::Family)));
}
