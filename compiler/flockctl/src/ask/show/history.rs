//! `history`: what has changed, and when the nodes had it.

use flock_proto::v1;

use super::Screen;
use crate::ask::text::{self, NOTHING};
use crate::table::{self, Cell, Tone, cell, paint};

/// So many objects are named in a row.
const NAMED: usize = 3;

/// The passes in their order.
pub(in crate::ask) fn screen(rows: &[v1::PassRow], screen: Screen) -> String {
    if rows.is_empty() {
        return paint("nothing has changed", Tone::Dim, screen.colour) + "\n";
    }
    let cells: Vec<Vec<Cell>> = rows.iter().map(|row| cells(row, screen)).collect();
    let heading = ["TIME", "CHANGED", "NODES", "TOOK", "ACKNOWLEDGED", "BY", "OPENED", "CLOSED"];
    table::text(&heading, &cells, screen.colour)
}

fn cells(row: &v1::PassRow, screen: Screen) -> Vec<Cell> {
    let named = if screen.wide { row.objects.len() } else { NAMED };
    let mut objects = row.objects.iter().take(named).cloned().collect::<Vec<_>>().join(", ");
    // Never less than are listed, whatever the message says: it is subtracted from below.
    let total = usize::try_from(row.objects_total).unwrap_or(usize::MAX).max(row.objects.len());
    let more = total - row.objects.len().min(named);
    if more > 0 {
        objects.push_str(&format!(" and {more} more"));
    }
    let took = row.took.as_ref().map(|it| it.seconds as f64 * 1e3 + f64::from(it.nanos) / 1e6);
    let by = match (&row.acknowledged_by, &row.time) {
        (Some(by), _) if row.acknowledged > 0 => text::clock(by, screen.now),
        _ => NOTHING.to_owned(),
    };
    let acknowledged = match row.nodes {
        0 => cell(NOTHING, Tone::Dim),
        nodes if row.acknowledged >= nodes => cell(format!("{}/{nodes}", row.acknowledged), Tone::Good),
        nodes => cell(format!("{}/{nodes}", row.acknowledged), Tone::Warning),
    };
    let flows =
        |flows: Option<u64>| cell(flows.map_or_else(|| NOTHING.to_owned(), |it| it.to_string()), Tone::Plain);
    vec![
        cell(
            row.time.as_ref().map_or_else(|| NOTHING.to_owned(), |at| text::clock(at, screen.now)),
            Tone::Dim,
        ),
        cell(objects, Tone::Plain),
        cell(row.nodes.to_string(), Tone::Plain),
        cell(took.map_or_else(|| NOTHING.to_owned(), |ms| format!("{ms:.1} ms")), Tone::Dim),
        acknowledged,
        cell(by, Tone::Dim),
        flows(row.opened),
        flows(row.closed),
    ]
}
