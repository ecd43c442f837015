//! `explain`: the verdict of a flow in both directions, with its reasons.
//!
//! ```text
//! ends ─▶ from × to, of one family each ─▶ judge ─▶ rows: one where pods of a workload agree ─▶ Teller ─▶ messages
//! ```

mod rows;

use flock_compiler_core::judge::{Carries, Flow, Judge, Judgement};
use flock_compiler_core::object::Direction;
use flock_compiler_core::port::Protocol;
use flock_proto::v1;

use self::rows::{PairCell, Side};
use crate::tell::Teller;
use crate::{AskError, At, Cluster, Ends, Sight, ends};

/// So many pairs of places are judged.
const PAIRS: usize = 4096;
/// The pairs that are left are not judged once this many policies and lines of reasons have been looked at: some tens of
/// milliseconds, whatever policies there are.
const WORK: usize = 500_000;
/// So many explanations an answer has.
const ROWS: usize = 256;

/// The verdict of one flow, or of several where an end stands for several.
///
/// # Errors
/// If it cannot be asked like this, there is no such end, or the asker may see neither end. Of a namespace that the asker
/// may not see, pods are told apart from no pods only if the other end is the asker's.
pub fn explain(
    cluster: &Cluster<'_>,
    request: &v1::ExplainRequest,
    sight: &Sight,
) -> Result<v1::ExplainResponse, AskError> {
    let port = Port::of(request.port.as_ref())?;
    let judge = cluster.judge();
    sight.may_ask(&judge, [request.from.as_ref(), request.to.as_ref()])?;
    let from = ends(cluster, &judge, request.from.as_ref(), sight)?;
    let to = ends(cluster, &judge, request.to.as_ref(), sight)?;
    let mut notes = notes(&from, &to);
    let sides = [Side::of(request.from.as_ref(), &from), Side::of(request.to.as_ref(), &to)];
    let table = PairTable::judged(&judge, &sides, port);
    if table.judged == 0 {
        return Err(AskError::Bad(format!(
            "{} and {} have no addresses of one family, so nothing can pass between them",
            sides[0].name, sides[1].name
        )));
    }
    if table.left_out > 0 {
        notes.push(format!("{} pairs of pods were judged; {} were not", table.judged, table.left_out));
    }
    let mut teller = Teller::new(&judge, sight);
    let rows = rows::rows(&sides, &table.cells);
    if rows.len() > ROWS {
        notes.push(format!("{} more verdicts that differ were left out", rows.len() - ROWS));
    }
    let explanations = rows.into_iter().take(ROWS).map(|row| {
        let mut told = |direction, verdict| Some(teller.direction(direction, row.flow, verdict));
        let Judgement { egress, ingress } = row.judgement;
        v1::Explanation {
            from: Some(row.from),
            to: Some(row.to),
            port: Some(shown_port(row.flow.carries)),
            allowed: row.judgement.passes(),
            egress: told(Direction::Egress, egress),
            ingress: told(Direction::Ingress, ingress),
            ..v1::Explanation::default()
        }
    });
    Ok(v1::ExplainResponse { explanations: explanations.collect(), notes })
}

/// What to know of the ends.
fn notes(from: &Ends, to: &Ends) -> Vec<String> {
    let mut notes = Vec::new();
    for ends in [from, to] {
        let pods = ends.at.iter().filter(|at| at.place.address.is_none());
        let without: Vec<&str> = pods.filter(|at| at.pod.is_some()).map(|at| &*at.shown.name).collect();
        if !without.is_empty() {
            let has = if without.len() == 1 { "has" } else { "have" };
            notes.push(format!(
                "{} {has} no address that is known: no ipBlock matches there",
                flock_shared::listed(&without)
            ));
        }
    }
    // Both ends may be the same pods.
    notes.dedup();
    notes
}

/// The port that is asked about.
#[derive(Debug, Clone, Copy)]
struct Port {
    /// `None`: a protocol without ports.
    protocol: Option<Protocol>,
    number: u16,
}

impl Port {
    fn of(asked: Option<&v1::Port>) -> Result<Self, AskError> {
        let Some(asked) = asked else {
            return Err(AskError::Bad("a port is missing: expected one like 5432 or 53/UDP".to_owned()));
        };
        let bad = || {
            AskError::Bad(format!(
                "port {}/{}: expected 1 to 65535 of TCP, UDP or SCTP, or `other`",
                asked.number, asked.protocol
            ))
        };
        if asked.protocol == "other" {
            return Ok(Self { protocol: None, number: 0 });
        }
        let protocol =
            Protocol::ALL.into_iter().find(|one| one.as_str() == asked.protocol).ok_or_else(bad)?;
        let number = u16::try_from(asked.number).ok().filter(|number| *number != 0).ok_or_else(bad)?;
        Ok(Self { protocol: Some(protocol), number })
    }

    /// What a flow to a place carries: of a Service, to the port that it leads to there.
    fn carries(self, to: &At) -> Carries {
        match self.protocol {
            None => Carries::Other,
            Some(protocol) => Carries::Port(protocol, to.target_port.unwrap_or(self.number)),
        }
    }
}

fn shown_port(carries: Carries) -> v1::Port {
    match carries {
        Carries::Port(protocol, number) => v1::Port { protocol: protocol.to_string(), number: number.into() },
        Carries::Other => v1::Port { protocol: "other".to_owned(), number: 0 },
    }
}

/// What is said of every pair.
struct PairTable<'e> {
    /// By the member of the first side, then by that of the second one.
    cells: Vec<Vec<PairCell<'e>>>,
    judged: usize,
    left_out: usize,
}

impl<'e> PairTable<'e> {
    fn judged(judge: &Judge<'_>, [from, to]: &[Side<'e>; 2], port: Port) -> Self {
        let (mut judged, mut left_out, mut work) = (0, 0, 0);
        let mut cells = Vec::new();
        for source in &from.members {
            let mut row = Vec::new();
            for destination in &to.members {
                let pairs = pairs(source, destination);
                if judged >= PAIRS || work > WORK {
                    left_out += pairs.count();
                    continue;
                }
                let mut cell = PairCell::default();
                for (a, b) in pairs {
                    judged += 1;
                    let flow = Flow {
                        source: a.place.clone(),
                        destination: b.place.clone(),
                        carries: port.carries(b),
                    };
                    let judgement = judge.judge(&flow);
                    work += judge.effort(&flow) + judgement.lines();
                    cell.add(a, b, flow, judgement);
                }
                row.push(cell);
            }
            cells.push(row);
        }
        Self { cells, judged, left_out }
    }
}

/// The pairs of places between which packets may pass.
fn pairs<'a, 'e>(
    from: &'a [&'e At],
    to: &'a [&'e At],
) -> impl Iterator<Item = (&'e At, &'e At)> + use<'a, 'e> {
    let family = |at: &At| at.place.address.map(|address| address.is_ipv4());
    let fit = move |a: &At, b: &At| match (family(a), family(b)) {
        (Some(a), Some(b)) => a == b,
        // An address that is not known may be of either family.
        _ => true,
    };
    let each = from.iter().flat_map(move |a| to.iter().map(move |b| (*a, *b)));
    each.filter(move |(a, b)| fit(a, b))
}
