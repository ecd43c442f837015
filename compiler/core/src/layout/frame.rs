//! What a frame is laid out to: the base chains, which are there whether or not anything is isolated, and the elements
//! that send each subject to its chain.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::{Layout, subject, when};
use crate::nft::{
    Allow, ChainName, Content, Element, Family, Field, Hook, Map, MapName, Match, Rule, SetName, SetType,
    Statement, Verdict,
};
use crate::object::Direction;
use crate::output::{Frame, Isolation, RuleSet, Subject};

impl Layout {
    /// All but the chains of rule sets and the sets that they look up.
    pub(crate) fn frame(&mut self, frame: &Frame) {
        self.base_chains();
        self.subjects(&frame.subjects.iter());
        self.anchors(&frame.anchors);
    }

    /// The two base chains and the chains that end in drop.
    fn base_chains(&mut self) {
        let open = Family::ALL.map(|family| (Element::Family(family), Verdict::Accept));
        self.table
            .maps
            .insert(MapName::Open, Map { kind: SetType::Families, elements: open.into_iter().collect() });
        for (direction, hook) in
            [(Direction::Egress, Hook::ForwardFirst), (Direction::Ingress, Hook::ForwardSecond)]
        {
            let mut rules = vec![when([Match::Reply], Verdict::Accept)];
            for family in self.families() {
                let fields = smallvec![subject(direction, family)];
                let map = MapName::Dispatch(direction, family);
                rules.push(Rule { matches: SmallVec::new(), statement: Statement::Map(fields, map) });
            }
            rules.push(Rule {
                matches: SmallVec::new(),
                statement: Statement::Map(smallvec![Field::Family], MapName::Open),
            });
            self.add_chain(ChainName::Base(direction), Some(hook), rules);
            let mut rules = Vec::new();
            for family in self.families() {
                let pair = smallvec![Field::Source(family), Field::Destination(family)];
                rules.push(when([Match::In(pair, SetName::Hairpin(family))], Verdict::Accept));
            }
            rules.extend(Family::ALL.map(|family| when([Match::RelatedError(family)], Verdict::Accept)));
            rules.push(when([Match::NeighbourDiscovery], Verdict::Accept));
            rules.push(Rule { matches: SmallVec::new(), statement: Statement::Counted(Verdict::Drop) });
            self.add_chain(ChainName::Denied(direction), None, rules);
        }
    }

    /// The dispatch maps and the hairpin sets, with the elements of these subjects.
    fn subjects<'a>(&mut self, subjects: &(impl Iterator<Item = (&'a IpAddr, &'a Subject)> + Clone)) {
        for direction in Direction::ALL {
            self.dispatch(direction, subjects.clone());
        }
        self.hairpins(subjects);
    }

    /// The dispatch maps of a direction, with the elements of these subjects.
    pub(crate) fn dispatch<'a>(
        &mut self,
        direction: Direction,
        subjects: impl Iterator<Item = (&'a IpAddr, &'a Subject)>,
    ) {
        for family in self.families() {
            let map = Map { kind: SetType::Addresses(family), elements: BTreeMap::new() };
            self.table.maps.insert(MapName::Dispatch(direction, family), map);
        }
        for (address, subject) in subjects {
            self.send(direction, *address, subject.isolation(direction));
        }
    }

    /// The hairpin sets, with the elements of these subjects.
    pub(crate) fn hairpins<'a>(
        &mut self,
        subjects: &(impl Iterator<Item = (&'a IpAddr, &'a Subject)> + Clone),
    ) {
        for family in self.families() {
            let here = subjects.clone().filter(|(address, _)| Family::of(address) == family);
            let pairs = here.flat_map(|(address, subject)| {
                let others = std::iter::once(address).chain(&subject.siblings);
                others.map(|other| Element::Pair(*address, *other))
            });
            let pairs = Content::Elements(pairs.collect());
            self.add_set(SetName::Hairpin(family), SetType::AddressPairs(family), pairs);
        }
    }

    /// Sends an isolated address to its chain.
    fn send(&mut self, direction: Direction, address: IpAddr, isolation: &Isolation) {
        let own = |layout: &mut Self| match isolation {
            Isolation::All(rule_sets) => Some(layout.all_of(direction, address, rule_sets)),
            Isolation::Open | Isolation::Closed | Isolation::Rules(_) => None,
        };
        let Some(chain) = chain_of(direction, isolation).or_else(|| own(self)) else { return };
        let map = MapName::Dispatch(direction, Family::of(&address));
        if let Some(map) = self.table.maps.get_mut(&map) {
            map.elements.insert(Element::Address(address), Verdict::Goto(chain));
        }
    }

    /// A chain that passes what every rule set of a contested address allows.
    fn all_of(&mut self, direction: Direction, address: IpAddr, rule_sets: &[Arc<RuleSet>]) -> ChainName {
        let gate = |set: &Arc<RuleSet>| ChainName::RuleSet(direction, set.name.clone(), Allow::Return);
        let mut rules: Vec<Rule> = rule_sets.iter().map(|set| when([], Verdict::Jump(gate(set)))).collect();
        rules.push(when([], Verdict::Accept));
        let name = ChainName::All(direction, address);
        self.add_chain(name.clone(), None, rules);
        name
    }
}

/// The chain that an address is sent to, unless it is not isolated or needs a chain of its own.
pub(crate) fn chain_of(direction: Direction, isolation: &Isolation) -> Option<ChainName> {
    match isolation {
        Isolation::Closed => Some(ChainName::Denied(direction)),
        Isolation::Rules(rules) => Some(ChainName::RuleSet(direction, rules.name.clone(), Allow::Accept)),
        Isolation::Open | Isolation::All(_) => None,
    }
}
