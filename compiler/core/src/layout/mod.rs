//! From an Output to the table that enforces it.
//!
//! ```text
//! forward  egress:  ct direction reply accept; mid-stream? then by verdict map the source's chain; else: unready?
//!          ingress: ct direction reply accept, then by verdict map the destination's chain; else: unready?
//! chain of a rule set: peers of every port, named destinations, ports by verdict map → peers' chain
//! denied:  hairpin, related errors and neighbour discovery pass, everything else is taken down, counted and dropped
//! ```
//!
//! `accept` ends its own base chain only, so both directions judge every flow.
//!
//! A packet sees the rules of one generation but sets as they are at the moment of the lookup, so one that is on its
//! way while a transaction is committed may go to a chain that has no rules yet, or find the elements of a table that
//! is being replaced gone. Both end at the end of the base chain: its policy is drop, and what no pod's chain has
//! judged passes by a map that goes with the table.

pub(crate) mod bridge;
mod closed;
mod drops;
mod guard;
mod mid_stream;
pub(crate) mod node_rules;
mod port;
pub(crate) mod rule_set;
pub(crate) mod source_check;
mod tunnel;

use std::collections::HashSet;

use flock_shared::steps::STEP_OBJECTS;
use flock_shared::{MARKER_PREFIX, Revision, Script, TABLE};

use crate::collections::prefetch;
use crate::nft::{
    Allow, Chain, ChainName, Content, Family, Field, Hook, Match, Objects, Rule, Set, SetName, SetType,
    Statement, Table, Texts, Verdict, write_in_steps,
};
use crate::object::Direction;
use crate::output::{AddressSet, Families, Form, Isolation, Membership, Output, SetDefinition};

/// The full script of an output: replaces whatever is there. Equal outputs give equal bytes. A large one has steps.
#[must_use]
pub fn render(output: &Output) -> Script {
    let end = marker(output.revision());
    // Most tables fit into one step, and need no model. Only a large one is laid out once more.
    let small = lay_out(output, Texts::default()).script(&end);
    Script::new(small.unwrap_or_else(|| write_in_steps(&layout(output), &end, STEP_OBJECTS)))
}

/// The statement that says which revision stands in the kernel: an empty set, so looking it up costs nothing.
#[must_use]
pub fn marker(revision: &Revision) -> String {
    ["add set ", TABLE, " ", MARKER_PREFIX, revision.as_str(), " { typeof ip saddr; }\n"].concat()
}

/// The table that enforces an output, without the marker of its revision.
#[must_use]
pub fn layout(output: &Output) -> Table {
    lay_out(output, Table::default())
}

fn lay_out<O: Objects>(output: &Output, objects: O) -> O {
    prefetch::of_output(output);
    let mut layout = Layout::into(objects, output.node_rules().families);
    if output.form() == Form::Closed {
        closed::table(&mut layout, output.node_rules());
        return layout.table;
    }
    node_rules::all(&mut layout, output.node_rules());
    let isolated = output.node_rules().isolated.values();
    let isolations = isolated.flat_map(|pod| [&pod.ingress, &pod.egress]);
    let chains = isolations.flat_map(|isolation| {
        isolation.rule_sets().iter().map(|rules| ((rules.direction, &rules.name, reached(isolation)), rules))
    });
    let mut chains: Vec<_> = chains.collect();
    // Many pods have the same rule set.
    chains.sort_unstable_by_key(|(chain, _)| *chain);
    chains.dedup_by(|(a, _), (b, _)| a == b);
    output.sets().iter().for_each(|set| layout.members(set));
    chains.into_iter().for_each(|((.., allow), rules)| rule_set::chains(&mut layout, rules, allow));
    layout.table
}

/// A table in the making.
pub(crate) struct Layout<O = Table> {
    pub(crate) table: O,
    families: Families,
    /// Chains and sets that several rule sets use, as far as they are there.
    peers: HashSet<ChainName>,
    blocks: HashSet<SetName>,
}

/// How the chain of a rule set is reached: from the dispatch, or as one of several that must all allow.
pub(crate) const fn reached(isolation: &Isolation) -> Allow {
    match isolation {
        Isolation::All(_) => Allow::Return,
        Isolation::Open | Isolation::Closed | Isolation::Rules(_) => Allow::Accept,
    }
}

/// The field that holds the address of the pod whose direction is judged.
const fn pod(direction: Direction, family: Family) -> Field {
    match direction {
        Direction::Ingress => Field::Destination(family),
        Direction::Egress => Field::Source(family),
    }
}

fn when(matches: impl IntoIterator<Item = Match>, verdict: Verdict) -> Rule {
    Rule { matches: matches.into_iter().collect(), statement: Statement::Verdict(verdict) }
}

/// The set that holds the members of one family.
pub(crate) fn set_of(definition: &SetDefinition, family: Family) -> (SetName, SetType) {
    let name = definition.name;
    match definition.rule {
        Membership::Pods(_) => (SetName::Pods(family, name), SetType::Addresses(family)),
        Membership::Destinations(_) => (SetName::Named(family, name), SetType::Destinations(family)),
    }
}

impl Layout {
    /// An empty table for pods of these families.
    pub(crate) fn new(families: Families) -> Self {
        Self::into(Table::default(), families)
    }
}

impl<O: Objects> Layout<O> {
    /// A table for pods of these families, whose objects go there.
    fn into(table: O, families: Families) -> Self {
        Self { table, families, peers: HashSet::new(), blocks: HashSet::new() }
    }

    /// The sets of the members of one set, by family.
    pub(crate) fn members(&mut self, set: &AddressSet) {
        for family in self.families() {
            let content = match family {
                Family::V4 => Content::Members4(set.v4.clone()),
                Family::V6 => Content::Members6(set.v6.clone()),
            };
            let (name, kind) = set_of(&set.definition, family);
            self.add_set(name, kind, content);
        }
    }

    fn families(&self) -> impl Iterator<Item = Family> + use<O> {
        let Families { v4, v6 } = self.families;
        [(v4, Family::V4), (v6, Family::V6)]
            .into_iter()
            .filter(|(present, _)| *present)
            .map(|(_, family)| family)
    }

    fn add_chain(&mut self, name: ChainName, hook: Option<Hook>, rules: Vec<Rule>) {
        self.table.add_chain(name, Chain { hook, rules });
    }

    fn add_set(&mut self, name: SetName, kind: SetType, content: Content) {
        self.table.add_set(name, Set { kind, content });
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
