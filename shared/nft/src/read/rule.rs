//! Rules are read: conditions, and what happens then.

use std::collections::BTreeSet;
use std::sync::Arc;

use smallvec::SmallVec;

use super::name;
use crate::direction::Direction;
use crate::drops::{FlowPort, Keep, Kept, NotKept, OverBound, Show};
use crate::model::{Field, Fields, Match, Rule, SetType, Statement, Verdict};
use crate::name::Family;
use crate::phrases::Phrases as _;
use crate::pod_cidr::PodCidr;
use crate::words::{COUNTED_DROP, RESET, TUNNEL_PORTS, fields_of};

/// Conditions of a rule; ours have two at most.
const MATCHES: usize = 4;

pub(super) fn rule(text: &str) -> Option<Rule> {
    let (mut matches, mut rest) = (SmallVec::new(), text);
    loop {
        if let Some(statement) = statement(rest) {
            return Some(Rule { matches, statement });
        }
        // A hostile line could have as many conditions as fit into it.
        let (condition, more) = condition(rest).filter(|_| matches.len() < MATCHES)?;
        matches.push(condition);
        rest = more.strip_prefix(' ')?;
    }
}

fn statement(text: &str) -> Option<Statement> {
    if text == RESET {
        return Some(Statement::Reset);
    }
    if let Some(dropped) = dropped(text) {
        return Some(dropped);
    }
    if let Some(counted) = text.strip_prefix("counter ") {
        return verdict(counted).map(Statement::Counted);
    }
    if let Some(verdict) = verdict(text) {
        return Some(Statement::Verdict(verdict));
    }
    let (fields, rest) = fields(text)?;
    let map = name::map(rest.strip_prefix(" vmap @")?)?;
    fit(&fields, map.kind()).then_some(Statement::Map(fields, map))
}

/// What becomes of a flow that is dropped, beside that it is.
fn dropped(text: &str) -> Option<Statement> {
    let verb = text.split(' ').next()?;
    match verb {
        // Compared with what the writer says of each: there are few, and few rules begin like this.
        "update" => all_kept().find_map(|kept| {
            let behind = text.strip_prefix(&Keep(kept).to_string())?;
            match behind {
                "" => Some(Statement::Keep(kept)),
                _ => (behind.strip_prefix(' ')? == COUNTED_DROP).then_some(Statement::KeepAndDrop(kept)),
            }
        }),
        "limit" => Direction::ALL
            .into_iter()
            .find(|direction| text == Show(*direction).to_string())
            .map(Statement::Show),
        _ => None,
    }
}

/// What can be taken down.
fn all_kept() -> impl Iterator<Item = Kept> {
    Direction::ALL.into_iter().flat_map(|direction| {
        Family::ALL.into_iter().flat_map(move |family| {
            FlowPort::ALL.into_iter().map(move |port| Kept { direction, family, port })
        })
    })
}

/// The condition about what is taken down that a text begins with, and the rest.
fn drop_condition(text: &str) -> Option<(Match, &str)> {
    let behind = |said: String| text.strip_prefix(&said);
    if text.starts_with("update ") {
        return Direction::ALL.into_iter().find_map(|direction| {
            Family::ALL.into_iter().find_map(|family| {
                let rest = behind(OverBound(direction, family).to_string())?;
                Some((Match::OverBound(direction, family), rest))
            })
        });
    }
    // A cheap look first: rules that look up sets are most of what there is to read.
    if !text.contains(" != @") {
        return None;
    }
    all_kept().find_map(|kept| Some((Match::NotKept(kept), behind(NotKept(kept).to_string())?)))
}

pub(super) fn verdict(text: &str) -> Option<Verdict> {
    let jump = || text.strip_prefix("jump ").and_then(name::chain).map(Verdict::Jump);
    let goto = || text.strip_prefix("goto ").and_then(name::chain).map(Verdict::Goto);
    name::whole(text).or_else(goto).or_else(jump)
}

/// The condition that a text begins with, and the rest.
fn condition(text: &str) -> Option<(Match, &str)> {
    if let Some(fixed) = Match::read_phrase(text) {
        return Some(fixed);
    }
    if let Some(text) = text.strip_prefix(TUNNEL_PORTS) {
        return tunnel_ports(text);
    }
    if let Some(of_drops) = drop_condition(text) {
        return Some(of_drops);
    }
    let (fields, rest) = fields(text)?;
    let rest = rest.strip_prefix(' ')?;
    let (word, rest) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
    if let Some(set) = word.strip_prefix('@') {
        let set = name::set(set)?;
        return fit(&fields, set.kind()).then_some((Match::In(fields, set), rest));
    }
    let [field @ (Field::Source(family) | Field::Destination(family))] = fields.as_slice() else {
        return None;
    };
    if let Some((first, last)) = word.split_once('-') {
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        let fits = Family::of(&first) == *family && Family::of(&last) == *family && first <= last;
        return fits.then_some((Match::Between(*field, first, last), rest));
    }
    let block = PodCidr::new(word.parse().ok()?).ok()?;
    (Family::of(&block.first()) == *family).then_some((Match::Within(*field, block), rest))
}

/// Ports up to a brace, and the rest.
fn tunnel_ports(text: &str) -> Option<(Match, &str)> {
    let (ports, rest) = text.split_once(" }")?;
    // Ports that come twice or out of order make the same set, which is then written in another way and refused.
    let ports: Option<BTreeSet<u16>> = ports.split(", ").map(|port| port.parse().ok()).collect();
    Some((Match::TunnelPorts(Arc::new(ports?)), rest))
}

/// The fields that a text begins with, and the rest.
fn fields(text: &str) -> Option<(Fields, &str)> {
    let (first, mut rest) = Field::read_phrase(text)?;
    let mut fields: Fields = SmallVec::from_slice(&[first]);
    while let Some((field, more)) = rest.strip_prefix(" . ").and_then(Field::read_phrase) {
        // More than a key ever has.
        if fields.len() == fields.inline_size() {
            return None;
        }
        fields.push(field);
        rest = more;
    }
    Some((fields, rest))
}

/// Returns true if these fields make a key of this kind: sources and destinations alike, also of ARP, and either
/// interface. What is taken down of drops is looked up by no rule but those of [`crate::drops`].
fn fit(fields: &[Field], kind: SetType) -> bool {
    if matches!(kind, SetType::Drops(_) | SetType::DropSources(_)) {
        return false;
    }
    let side = |field: Field| match field {
        Field::Destination(family) => Field::Source(family),
        Field::Outbound => Field::Inbound,
        Field::ArpSender => Field::Source(Family::V4),
        other => other,
    };
    fields.iter().copied().map(side).eq(fields_of(kind).into_iter().flatten().map(side))
}
