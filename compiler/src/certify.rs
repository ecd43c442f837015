//! Words against tables: what the API's words say of a flow, and what a node's table does to it. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use flock_compiler_core::judge::{Carries, Exempt, Flow, Judge, Verdict};
use flock_compiler_core::nft::interpret::{InterpretError, Packet, judge_direction};
use flock_compiler_core::nft::{Content, Element, Family, SetName, Table, Transport};
use flock_compiler_core::object::Direction;
use flock_compiler_core::{Output, layout};

/// A protocol without ports that no rule names: for experiments (RFC 3692).
const OTHER: u8 = 253;

/// A flow between two addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Between {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) carries: Carries,
}

/// The table of an output on a node whose agent is attended to.
pub(crate) fn table(output: &Output) -> Table {
    let mut table = layout(output);
    // The agent fills this one while a compiler attends to the node: no output holds that.
    if let Some(set) = table.sets.get_mut(&SetName::Attended) {
        let all: BTreeSet<Element> = Family::ALL.into_iter().map(Element::Family).collect();
        set.content = Content::Elements(all);
    }
    table
}

/// Returns true if the first packet of a flow passes what a table judges in a direction.
///
/// # Errors
/// When the table is inconsistent.
pub(crate) fn table_passes(
    table: &Table,
    flow: &Between,
    direction: Direction,
) -> Result<bool, InterpretError> {
    let transport = match flow.carries {
        Carries::Port(protocol, destination_port) => Transport::Ports { protocol, destination_port },
        Carries::Other => Transport::Other(OTHER),
    };
    judge_direction(table, &Packet::first(flow.source, flow.destination, transport), direction)
}

/// Whether the words let a flow pass in a direction; `None` where no forwarded packet is judged by them.
pub(crate) fn words_pass(judge: &Judge<'_>, flow: &Between, direction: Direction) -> Option<bool> {
    let flow = Flow {
        source: judge.place_of(flow.source),
        destination: judge.place_of(flow.destination),
        carries: flow.carries,
    };
    match judge.judge(&flow).of(direction) {
        Verdict::Exempt(Exempt::HostNetwork | Exempt::OwnNode | Exempt::Itself) => None,
        verdict => Some(verdict.passes()),
    }
}
