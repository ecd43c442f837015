//! What a frame is laid out to: the base chains, which are there whether or not anything is isolated, and the elements
//! that send each subject to its chain and let other known addresses pass.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::{Layout, subject, unready, when};
use crate::nft::{
    Allow, ChainName, Content, Element, Family, Field, Hook, Map, MapName, Match, Objects, Rule, SetName,
    SetType, Statement, Verdict,
};
use crate::object::Direction;
use crate::output::{Frame, Isolation, RuleSet, Subject, Unready};

impl<O: Objects> Layout<O> {
    /// All but the chains of rule sets and the sets that they look up.
    pub(crate) fn frame(&mut self, frame: &Frame) {
        self.base_chains(frame.unready.as_deref());
        self.dispatches(frame);
        let subjects = frame.subjects.iter();
        self.hairpins(&subjects);
        self.isolated(&subjects);
        self.entering(frame);
        self.bridge(frame);
    }

    /// The dispatch maps, whole.
    pub(super) fn dispatches(&mut self, frame: &Frame) {
        let subjects = frame.subjects.iter();
        for direction in Direction::ALL {
            let known = frame.unready.iter().flat_map(|unready| unready.known());
            let others = known.filter(|address| frame.subjects.get(address).is_none());
            let all = subjects.clone().map(|(address, subject)| (*address, Some(subject)));
            self.dispatch(
                direction,
                all.chain(others.map(|address| (address, None))),
                frame.unready.as_deref(),
            );
        }
    }

    /// The two base chains and the chains that end in drop.
    pub(crate) fn base_chains(&mut self, unready: Option<&Unready>) {
        let open = Family::ALL.map(|family| (Element::Family(family), Verdict::Accept));
        self.table
            .add_map(MapName::Open, Map { kind: SetType::Families, elements: open.into_iter().collect() });
        if unready::asks_who_attends(unready) {
            let nobody = Content::Elements(BTreeSet::new());
            self.add_set(SetName::Attended, SetType::TimedFamilies, nobody);
        }
        for (direction, hook) in
            [(Direction::Egress, Hook::ForwardFirst), (Direction::Ingress, Hook::ForwardSecond)]
        {
            let mut rules = vec![when([Match::Reply], Verdict::Accept)];
            let judging = self.judging(direction, unready);
            // Once is enough: the first base chain looks at both ends.
            if direction == Direction::Egress {
                rules.extend(self.mid_stream(&judging));
            }
            rules.extend(judging);
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

    /// The rules of a base chain that send a packet to where its direction is judged.
    fn judging(&self, direction: Direction, unready: Option<&Unready>) -> Vec<Rule> {
        let dispatch = |family| Rule {
            matches: SmallVec::new(),
            statement: Statement::Map(
                smallvec![subject(direction, family)],
                MapName::Dispatch(direction, family),
            ),
        };
        let mut rules: Vec<Rule> = self.families().map(dispatch).collect();
        rules.extend(unready.into_iter().flat_map(|unready| unready::rules(direction, unready)));
        rules.push(Rule {
            matches: SmallVec::new(),
            statement: Statement::Map(smallvec![Field::Family], MapName::Open),
        });
        rules
    }

    /// The dispatch maps of a direction, with the elements of these addresses, of which some are subjects.
    pub(crate) fn dispatch<'a>(
        &mut self,
        direction: Direction,
        addresses: impl Iterator<Item = (IpAddr, Option<&'a Subject>)>,
        unready: Option<&Unready>,
    ) {
        let mut found: [Vec<(Element, Verdict)>; 2] = Default::default();
        for (address, subject) in addresses {
            let isolation = subject.map_or(&Isolation::Open, |subject| subject.isolation(direction));
            let verdict = self.verdict(direction, address, isolation, unready);
            let [v4, v6] = &mut found;
            let of_family = if address.is_ipv4() { v4 } else { v6 };
            of_family.extend(verdict.map(|verdict| (Element::Address(address), verdict)));
        }
        for (family, found) in Family::ALL.into_iter().zip(found) {
            if self.families().any(|present| present == family) {
                let map = Map { kind: SetType::Addresses(family), elements: found.into_iter().collect() };
                self.table.add_map(MapName::Dispatch(direction, family), map);
            }
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

    /// The sets of isolated addresses, with those of these subjects.
    pub(crate) fn isolated<'a>(
        &mut self,
        subjects: &(impl Iterator<Item = (&'a IpAddr, &'a Subject)> + Clone),
    ) {
        for family in self.families() {
            let here = subjects.clone().filter(|(address, _)| Family::of(address) == family);
            let addresses = here.map(|(address, _)| Element::Address(*address)).collect();
            let content = Content::Elements(addresses);
            self.add_set(SetName::Isolated(family), SetType::Addresses(family), content);
        }
    }

    /// An isolated address is sent to its chain; an open one passes, if it would be isolated were it not known.
    fn verdict(
        &mut self,
        direction: Direction,
        address: IpAddr,
        isolation: &Isolation,
        unready: Option<&Unready>,
    ) -> Option<Verdict> {
        match isolation {
            Isolation::All(rule_sets) => Some(Verdict::Goto(self.all_of(direction, address, rule_sets))),
            Isolation::Open | Isolation::Closed | Isolation::Rules(_) => {
                verdict_of(direction, address, isolation, unready)
            }
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

/// What the dispatch says of an address; `None`: nothing, or it is sent to a chain of its own.
pub(crate) fn verdict_of(
    direction: Direction,
    address: IpAddr,
    isolation: &Isolation,
    unready: Option<&Unready>,
) -> Option<Verdict> {
    match isolation {
        Isolation::Closed => Some(Verdict::Goto(ChainName::Denied(direction))),
        Isolation::Rules(rules) => {
            Some(Verdict::Goto(ChainName::RuleSet(direction, rules.name.clone(), Allow::Accept)))
        }
        Isolation::Open => {
            unready.is_some_and(|unready| unready.is_known(address)).then_some(Verdict::Accept)
        }
        Isolation::All(_) => None,
    }
}
