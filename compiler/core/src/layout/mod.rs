//! From an Output to the table that enforces it.
//!
//! ```text
//! forward  egress:  ct direction reply accept, then the source's chain by verdict map
//!          ingress: ct direction reply accept, then the destination's chain by verdict map
//! chain of a rule set: peers of every port, named destinations, ports by verdict map → peers' chain
//! denied:  hairpin, related errors and neighbour discovery pass, everything else is counted and dropped
//! ```
//!
//! `accept` ends its own base chain only, so both directions judge every flow.
//!
//! A packet sees the rules of one generation but sets as they are at the moment of the lookup, so one that is on its
//! way while a transaction is committed may go to a chain that has no rules yet, or find the elements of a table that
//! is being replaced gone. Both end at the end of the base chain: its policy is drop, and what no subject's chain has
//! judged passes by a map that goes with the table.

mod anchor;
mod frame;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flock_shared::{MARKER_PREFIX, Revision, Script, TABLE};

use crate::identity::Name;
use crate::nft::{
    Allow, Chain, ChainName, Content, Element, Family, Field, Hook, Map, MapName, Match, Rule, Set, SetName,
    SetType, Statement, Table, Verdict, write,
};
use crate::object::Direction;
use crate::output::{
    BlockSet, Families, Isolation, MemberSet, Membership, NamedRanges, Output, Peers, RuleSet, SetDefinition,
    Union,
};
use crate::port::PortSet;

/// The full script of an output: replaces whatever is there. Equal outputs give equal bytes.
#[must_use]
pub fn render(output: &Output) -> Script {
    let mut text = write(&layout(output));
    text.push_str(&marker(output.revision()));
    Script::new(text)
}

/// The statement that says which revision stands in the kernel: an empty set, so looking it up costs nothing.
#[must_use]
pub fn marker(revision: &Revision) -> String {
    ["add set ", TABLE, " ", MARKER_PREFIX, revision.as_str(), " { typeof ip saddr; }\n"].concat()
}

/// The table that enforces an output, without the marker of its revision.
#[must_use]
pub fn layout(output: &Output) -> Table {
    let mut layout = Layout::new(output.frame().families);
    layout.frame(output.frame());
    let subjects = output.frame().subjects.values();
    let isolations = subjects.flat_map(|subject| [&subject.ingress, &subject.egress]);
    let chains = isolations.flat_map(|isolation| {
        isolation.rule_sets().iter().map(|rules| ((rules.direction, &rules.name, reached(isolation)), rules))
    });
    let chains: BTreeMap<_, _> = chains.collect();
    chains.into_iter().for_each(|((.., allow), rules)| layout.rule_set(rules, allow));
    output.sets().iter().for_each(|set| layout.members(set));
    layout.table
}

/// A table in the making.
pub(crate) struct Layout {
    pub(crate) table: Table,
    families: Families,
}

/// How the chain of a rule set is reached: from the dispatch, or as one of several that must all allow.
pub(crate) const fn reached(isolation: &Isolation) -> Allow {
    match isolation {
        Isolation::All(_) => Allow::Return,
        Isolation::Open | Isolation::Closed | Isolation::Rules(_) => Allow::Accept,
    }
}

/// The field that holds the address of the pod whose direction is judged.
const fn subject(direction: Direction, family: Family) -> Field {
    match direction {
        Direction::Ingress => Field::Destination(family),
        Direction::Egress => Field::Source(family),
    }
}

/// The field that holds the address of the peer.
const fn peer(direction: Direction, family: Family) -> Field {
    match direction {
        Direction::Ingress => Field::Source(family),
        Direction::Egress => Field::Destination(family),
    }
}

fn when(matches: impl IntoIterator<Item = Match>, verdict: Verdict) -> Rule {
    Rule { matches: matches.into_iter().collect(), statement: Statement::Verdict(verdict) }
}

/// A range of at most this many ports is written port by port: a lookup in a hash costs less than in an interval map.
const FEW_PORTS: u16 = 16;

/// The family that numbers of a type are addresses of.
trait BlockFamily {
    const FAMILY: Family;
}

impl BlockFamily for u32 {
    const FAMILY: Family = Family::V4;
}

impl BlockFamily for u128 {
    const FAMILY: Family = Family::V6;
}

/// The set that holds the members of one family.
pub(crate) fn set_of(definition: &SetDefinition, family: Family) -> (SetName, SetType) {
    let name = definition.name.clone();
    match definition.rule {
        Membership::Pods(_) => (SetName::Pods(family, name), SetType::Addresses(family)),
        Membership::Destinations(_) => (SetName::Named(family, name), SetType::Destinations(family)),
    }
}

/// Most chains have fewer rules.
const RULES: usize = 4;

const PORT: [Field; 2] = [Field::Protocol, Field::DestinationPort];
const PORT_RANGE: [Field; 2] = [Field::DestinationPort, Field::Protocol];

impl Layout {
    /// An empty table for pods of these families.
    pub(crate) fn new(families: Families) -> Self {
        Self { table: Table::default(), families }
    }

    /// The sets of the members of one set, by family.
    pub(crate) fn members(&mut self, set: &MemberSet) {
        for family in self.families() {
            let content = match family {
                Family::V4 => Content::Members4(set.v4.clone()),
                Family::V6 => Content::Members6(set.v6.clone()),
            };
            let (name, kind) = set_of(&set.definition, family);
            self.add_set(name, kind, content);
        }
    }

    fn families(&self) -> impl Iterator<Item = Family> + use<> {
        let Families { v4, v6 } = self.families;
        [(v4, Family::V4), (v6, Family::V6)]
            .into_iter()
            .filter(|(present, _)| *present)
            .map(|(_, family)| family)
    }

    fn add_chain(&mut self, name: ChainName, hook: Option<Hook>, rules: Vec<Rule>) {
        self.table.chains.insert(name, Chain { hook, rules });
    }

    fn add_set(&mut self, name: SetName, kind: SetType, content: Content) {
        self.table.sets.insert(name, Set { kind, content });
    }

    /// The chains of a rule set, its maps and its sets of address blocks.
    pub(crate) fn rule_set(&mut self, rules: &RuleSet, allow: Allow) {
        let direction = rules.direction;
        let mut chain = Vec::with_capacity(RULES);
        self.peers(direction, &rules.any_port, allow, &mut chain);
        if let Some(named) = &rules.named {
            chain.extend(self.pods(direction, named, allow));
        }
        chain.extend(self.contested(rules, allow));
        let (mut single, mut wide) = (BTreeMap::new(), BTreeMap::new());
        for (range, peers) in &rules.ports {
            let verdict = self.towards(direction, peers, allow);
            match range.singles(FEW_PORTS) {
                Some(ports) => single.extend(ports.map(|port| (Element::Ports(port), verdict.clone()))),
                None => drop(wide.insert(Element::PortRange(*range), verdict)),
            }
        }
        let maps = [
            (MapName::Ports(direction, rules.name.clone(), allow), SetType::Ports, PORT, single),
            (
                MapName::PortRanges(direction, rules.name.clone(), allow),
                SetType::PortRanges,
                PORT_RANGE,
                wide,
            ),
        ];
        for (map, kind, fields, elements) in maps.into_iter().filter(|(.., elements)| !elements.is_empty()) {
            self.table.maps.insert(map.clone(), Map { kind, elements });
            chain.push(Rule { matches: Vec::new(), statement: Statement::Map(fields.to_vec(), map) });
        }
        chain.push(when([], Verdict::Goto(ChainName::Denied(direction))));
        self.add_chain(ChainName::RuleSet(direction, rules.name.clone(), allow), None, chain);
    }

    /// Where a packet goes whose port matches: to the chain that looks at its peer, unless any peer will do.
    fn towards(&mut self, direction: Direction, peers: &Peers, allow: Allow) -> Verdict {
        if peers.union.is_everywhere() {
            return allow.verdict();
        }
        let name = ChainName::Peers(direction, peers.name.clone(), allow);
        if !self.table.chains.contains_key(&name) {
            let mut rules = Vec::with_capacity(RULES);
            self.peers(direction, &peers.union, allow, &mut rules);
            rules.push(when([], Verdict::Goto(ChainName::Denied(direction))));
            self.add_chain(name.clone(), None, rules);
        }
        Verdict::Goto(name)
    }

    /// Adds one rule per family and kind of set, however many peers there are.
    fn peers(&mut self, direction: Direction, union: &Union, allow: Allow, rules: &mut Vec<Rule>) {
        if let Some(pods) = &union.pods {
            rules.extend(self.pods(direction, pods, allow));
        }
        let v4 = self.blocks(direction, &union.v4, allow, |ranges| {
            (&ranges.name, Content::Ranges4(Arc::clone(ranges)))
        });
        let v6 = self.blocks(direction, &union.v6, allow, |ranges| {
            (&ranges.name, Content::Ranges6(Arc::clone(ranges)))
        });
        rules.extend(v4.into_iter().chain(v6));
    }

    /// Looks up the peer in the sets of a definition, one rule per family.
    fn pods(
        &self,
        direction: Direction,
        definition: &SetDefinition,
        allow: Allow,
    ) -> impl Iterator<Item = Rule> {
        let rule = move |family| {
            let peer = peer(direction, family);
            let fields = match definition.rule {
                Membership::Pods(_) => vec![peer],
                Membership::Destinations(_) => [peer].into_iter().chain(PORT).collect(),
            };
            when([Match::In(fields, set_of(definition, family).0)], allow.verdict())
        };
        self.families().map(rule)
    }

    fn blocks<T: BlockFamily>(
        &mut self,
        direction: Direction,
        blocks: &BlockSet<T>,
        allow: Allow,
        content: impl Fn(&Arc<NamedRanges<T>>) -> (&Name, Content),
    ) -> Option<Rule> {
        match blocks {
            BlockSet::Nowhere => None,
            BlockSet::Everywhere => Some(when([Match::Family(T::FAMILY)], allow.verdict())),
            BlockSet::Some(ranges) => {
                let (name, content) = content(ranges);
                let name = SetName::Blocks(T::FAMILY, name.clone());
                self.add_set(name.clone(), SetType::AddressRanges(T::FAMILY), content);
                Some(when([Match::In(vec![peer(direction, T::FAMILY)], name)], allow.verdict()))
            }
        }
    }

    /// Peers whose address has several owners, with what all of them are allowed.
    fn contested(&mut self, rules: &RuleSet, allow: Allow) -> Vec<Rule> {
        let direction = rules.direction;
        let mut found = Vec::new();
        for family in Family::ALL {
            let here = rules.contested.iter().filter(|(address, _)| Family::of(address) == family);
            let (mut any, mut some) = (BTreeSet::new(), BTreeSet::new());
            for (address, ports) in here {
                match ports {
                    PortSet::Everything => {
                        any.insert(Element::Address(*address));
                    }
                    PortSet::Ranges(ranges) => {
                        some.extend(ranges.iter().map(|range| Element::AddressPorts(*address, *range)));
                    }
                }
            }
            if !any.is_empty() {
                let name = SetName::ContestedAny(direction, family, rules.name.clone());
                found.push(when([Match::In(vec![peer(direction, family)], name.clone())], allow.verdict()));
                self.add_set(name, SetType::Addresses(family), Content::Elements(any));
            }
            if !some.is_empty() {
                let name = SetName::Contested(direction, family, rules.name.clone());
                let fields = vec![peer(direction, family), Field::Protocol, Field::DestinationPort];
                found.push(when([Match::In(fields, name.clone())], allow.verdict()));
                self.add_set(name, SetType::AddressPorts(family), Content::Elements(some));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flock_shared::NodeName;

    #[test]
    fn an_empty_output_renders_a_table_that_drops_nothing() {
        let output = Output::empty(NodeName::new("n1").unwrap(), Families::default());
        let text = String::from_utf8(render(&output).bytes().to_vec()).unwrap();
        assert!(text.starts_with("add table inet flock_netpol\ndelete table inet flock_netpol\n"), "{text}");
        assert!(text.ends_with(&format!(
            "add set inet flock_netpol rev_{} {{ typeof ip saddr; }}\n",
            output.revision()
        )));
    }
}
