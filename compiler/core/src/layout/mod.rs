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

mod anchor;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::{MARKER_PREFIX, Revision, Script, ScriptHash, TABLE};

use crate::nft::{
    Allow, Chain, ChainName, Content, Element, Family, Field, Hook, Map, MapName, Match, Rule, Set, SetName,
    SetType, Statement, Table, Verdict, write,
};
use crate::object::Direction;
use crate::output::{DestinationSet, Families, Isolation, Output, Peers, RuleSet};
use crate::port::{PortRange, PortSet};

/// A node's table, the script that replaces whatever is there with it, and the revision of that state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The table, without the marker set that carries the revision.
    pub table: Table,
    /// The full script.
    pub script: Script,
    /// The state that the script reaches.
    pub revision: Revision,
}

/// Renders an output. Equal outputs give equal bytes.
#[must_use]
pub fn render(output: &Output) -> Rendered {
    let table = layout(output);
    let mut text = write(&table);
    let revision = Revision::of(ScriptHash::of(text.as_bytes()));
    // The marker says which revision stands in the kernel; it is empty, so looking it up costs nothing.
    text.push_str(&format!("add set {TABLE} {MARKER_PREFIX}{revision} {{ typeof ip saddr; }}\n"));
    Rendered { table, script: Script::new(text), revision }
}

/// The table that enforces an output.
#[must_use]
pub fn layout(output: &Output) -> Table {
    let mut layout = Layout { table: Table::default(), families: output.families };
    layout.base_chains();
    for direction in Direction::ALL {
        layout.dispatch(output, direction);
    }
    layout.hairpins(&output.hairpins);
    layout.anchors(&output.anchors);
    layout.table
}

struct Layout {
    table: Table,
    families: Families,
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

const PORT: [Field; 2] = [Field::Protocol, Field::DestinationPort];

impl Layout {
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

    /// The two base chains, their dispatch maps and the chains that end in drop. They are there whether or not
    /// anything is isolated, so that only elements come and go.
    fn base_chains(&mut self) {
        for (direction, hook) in
            [(Direction::Egress, Hook::ForwardFirst), (Direction::Ingress, Hook::ForwardSecond)]
        {
            let mut rules = vec![when([Match::Reply], Verdict::Accept)];
            for family in self.families() {
                let name = MapName::Dispatch(direction, family);
                let fields = vec![subject(direction, family)];
                rules.push(Rule { matches: Vec::new(), statement: Statement::Map(fields, name.clone()) });
                self.table
                    .maps
                    .insert(name, Map { kind: SetType::Addresses(family), elements: BTreeMap::new() });
            }
            self.add_chain(ChainName::Base(direction), Some(hook), rules);
            let mut rules = Vec::new();
            for family in self.families() {
                let pair = vec![Field::Source(family), Field::Destination(family)];
                rules.push(when([Match::In(pair, SetName::Hairpin(family))], Verdict::Accept));
            }
            rules.extend(Family::ALL.map(|family| when([Match::RelatedError(family)], Verdict::Accept)));
            rules.push(when([Match::NeighbourDiscovery], Verdict::Accept));
            rules.push(Rule { matches: Vec::new(), statement: Statement::Counted(Verdict::Drop) });
            self.add_chain(ChainName::Denied(direction), None, rules);
        }
    }

    /// Sends each isolated address to its chain.
    fn dispatch(&mut self, output: &Output, direction: Direction) {
        for (address, subject) in &output.subjects {
            let chain = match subject.isolation(direction) {
                Isolation::Open => continue,
                Isolation::Closed => ChainName::Denied(direction),
                Isolation::Rules(rule_sets) => match rule_sets.as_slice() {
                    [one] => self.rule_set(one, Allow::Accept),
                    several => self.all_of(direction, *address, several),
                },
            };
            let map = MapName::Dispatch(direction, Family::of(address));
            if let Some(map) = self.table.maps.get_mut(&map) {
                map.elements.insert(Element::Address(*address), Verdict::Goto(chain));
            }
        }
    }

    /// A chain that passes what every rule set of a contested address allows.
    fn all_of(&mut self, direction: Direction, address: IpAddr, rule_sets: &[Arc<RuleSet>]) -> ChainName {
        let mut rules: Vec<Rule> =
            rule_sets.iter().map(|set| when([], Verdict::Jump(self.rule_set(set, Allow::Return)))).collect();
        rules.push(when([], Verdict::Accept));
        let name = ChainName::All(direction, address);
        self.add_chain(name.clone(), None, rules);
        name
    }

    fn rule_set(&mut self, rules: &RuleSet, allow: Allow) -> ChainName {
        let direction = rules.direction;
        let name = ChainName::RuleSet(direction, rules.name.clone(), allow);
        if self.table.chains.contains_key(&name) {
            return name;
        }
        let mut chain = self.peers(direction, &rules.any_port, allow);
        if let Some(named) = &rules.named {
            chain.extend(self.named(named, allow));
        }
        chain.extend(self.contested(rules, allow));
        let (mut single, mut wide) = (BTreeMap::new(), BTreeMap::new());
        for (range, peers) in &rules.ports {
            let verdict = self.towards(direction, peers, allow);
            match range.singles(FEW_PORTS) {
                Some(ports) => single.extend(ports.map(|port| (Element::Ports(port), verdict.clone()))),
                None => drop(wide.insert(Element::Ports(*range), verdict)),
            }
        }
        let maps = [
            (MapName::Ports(direction, rules.name.clone(), allow), SetType::Ports, single),
            (MapName::PortRanges(direction, rules.name.clone(), allow), SetType::PortRanges, wide),
        ];
        for (map, kind, elements) in maps.into_iter().filter(|(_, _, elements)| !elements.is_empty()) {
            self.table.maps.insert(map.clone(), Map { kind, elements });
            chain.push(Rule { matches: Vec::new(), statement: Statement::Map(PORT.to_vec(), map) });
        }
        chain.push(when([], Verdict::Goto(ChainName::Denied(direction))));
        self.add_chain(name.clone(), None, chain);
        name
    }

    /// Where a packet goes whose port matches: to the chain that looks at its peer, unless any peer will do.
    fn towards(&mut self, direction: Direction, peers: &Peers, allow: Allow) -> Verdict {
        if peers.blocks.blocks.is_everywhere() {
            return allow.verdict();
        }
        let name = ChainName::Peers(direction, peers.name.clone(), allow);
        if !self.table.chains.contains_key(&name) {
            let mut rules = self.peers(direction, peers, allow);
            rules.push(when([], Verdict::Goto(ChainName::Denied(direction))));
            self.add_chain(name.clone(), None, rules);
        }
        Verdict::Goto(name)
    }

    /// One rule per family and kind of set, however many peers there are.
    fn peers(&mut self, direction: Direction, peers: &Peers, allow: Allow) -> Vec<Rule> {
        let mut rules = Vec::new();
        let blocks = &peers.blocks.blocks;
        if let Some(pods) = &peers.pods {
            for family in self.families() {
                let (content, covered) = match family {
                    Family::V4 => (Content::V4(Arc::clone(&pods.v4)), blocks.v4.is_full()),
                    Family::V6 => (Content::V6(Arc::clone(&pods.v6)), blocks.v6.is_full()),
                };
                if !covered {
                    let name = SetName::Pods(family, pods.name.clone());
                    rules.push(when(
                        [Match::In(vec![peer(direction, family)], name.clone())],
                        allow.verdict(),
                    ));
                    self.add_set(name, SetType::Addresses(family), content);
                }
            }
        }
        for family in Family::ALL {
            let (content, name, empty, full) = match family {
                Family::V4 => {
                    let (ranges, name) = (&blocks.v4, &peers.blocks.v4_name);
                    (Content::Ranges4(ranges.clone()), name, ranges.is_empty(), ranges.is_full())
                }
                Family::V6 => {
                    let (ranges, name) = (&blocks.v6, &peers.blocks.v6_name);
                    (Content::Ranges6(ranges.clone()), name, ranges.is_empty(), ranges.is_full())
                }
            };
            if full {
                rules.push(when([Match::Family(family)], allow.verdict()));
            } else if !empty {
                let name = SetName::Blocks(family, name.clone());
                rules.push(when([Match::In(vec![peer(direction, family)], name.clone())], allow.verdict()));
                self.add_set(name, SetType::AddressRanges(family), content);
            }
        }
        rules
    }

    /// Destinations by named port: one lookup per family.
    fn named(&mut self, named: &DestinationSet, allow: Allow) -> Vec<Rule> {
        let mut rules = Vec::new();
        for family in self.families() {
            let members = named.members.iter().filter(|(address, ..)| Family::of(address) == family);
            let elements = members.map(|(address, protocol, port)| {
                Element::AddressPorts(*address, PortRange::single(*protocol, *port))
            });
            let content = Content::Elements(elements.collect());
            let name = SetName::Named(family, named.name.clone());
            let fields = vec![Field::Destination(family), Field::Protocol, Field::DestinationPort];
            rules.push(when([Match::In(fields, name.clone())], allow.verdict()));
            self.add_set(name, SetType::Destinations(family), content);
        }
        rules
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

    fn hairpins(&mut self, pairs: &BTreeSet<(IpAddr, IpAddr)>) {
        for family in self.families() {
            let here = pairs.iter().filter(|(source, _)| Family::of(source) == family);
            let elements = here.map(|(source, destination)| Element::Pair(*source, *destination)).collect();
            self.add_set(
                SetName::Hairpin(family),
                SetType::AddressPairs(family),
                Content::Elements(elements),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flock_shared::NodeName;

    #[test]
    fn an_empty_output_renders_a_table_that_drops_nothing() {
        let rendered = render(&Output::empty(NodeName::new("n1").unwrap()));
        let text = String::from_utf8(rendered.script.bytes().to_vec()).unwrap();
        assert!(text.starts_with("add table inet flock_netpol\ndelete table inet flock_netpol\n"), "{text}");
        assert!(text.ends_with(&format!(
            "add set inet flock_netpol rev_{} {{ typeof ip saddr; }}\n",
            rendered.revision
        )));
    }
}
