//! `drops`: flows that were dropped, and why.

use std::collections::BTreeMap;

use flock_proto::v1;

use super::Screen;
use crate::ask::text::{self, NOTHING};
use crate::table::{self, Cell, Tone, cell, paint};

/// How wide the columns of a table are that grows, as later rows are not known yet.
const WIDTHS: [usize; 4] = [12, 12, 28, 34];

const HEADING: [&str; 5] = ["TIME", "NODE", "FROM", "TO", "WHY"];

/// The rows, the newest last.
pub(in crate::ask) fn screen(rows: &[v1::DropRow], screen: Screen) -> String {
    if rows.is_empty() {
        return paint("no drops", Tone::Good, screen.colour) + "\n";
    }
    let mut heading = HEADING.to_vec();
    if screen.wide {
        heading.extend(["PACKETS", "FIRST"]);
    }
    let cells: Vec<Vec<Cell>> = flows(rows).map(|row| cells(row, screen)).collect();
    let table = if cells.is_empty() { String::new() } else { table::text(&heading, &cells, screen.colour) };
    table + &missed(rows, screen)
}

/// The rows that are about a flow; others say what was not kept.
fn flows(rows: &[v1::DropRow]) -> impl Iterator<Item = &v1::DropRow> {
    rows.iter().filter(|row| row.from.is_some())
}

/// The heading of a table that grows.
pub(in crate::ask) fn head(screen: Screen) -> String {
    growing(HEADING.map(|text| cell(text, Tone::Dim)).into(), screen)
}

/// A row of it, and what was missed.
pub(in crate::ask) fn line(row: &v1::DropRow, screen: Screen) -> String {
    // `-o wide` has a count and the first time besides: what a watcher is told at once has no count and one time.
    let mut cells = cells(row, Screen { wide: false, ..screen });
    cells.truncate(HEADING.len());
    growing(cells, screen) + &missed(std::slice::from_ref(row), screen)
}

fn growing(cells: Vec<Cell>, screen: Screen) -> String {
    let mut line = String::new();
    for (index, cell) in cells.into_iter().enumerate() {
        let (text, tone) = cell.into_parts();
        let width = WIDTHS.get(index).copied().unwrap_or_default();
        line.push_str(&paint(&text, tone, screen.colour));
        line.push_str(&" ".repeat(width.saturating_sub(text.chars().count()) + 2));
    }
    format!("{}\n", line.trim_end())
}

fn cells(row: &v1::DropRow, screen: Screen) -> Vec<Cell> {
    let time = |at: Option<&prost_types::Timestamp>| {
        at.map_or_else(|| NOTHING.to_owned(), |at| text::precise(at, screen.now))
    };
    let mut cells = vec![
        cell(time(row.time.as_ref()), Tone::Dim),
        cell(&row.node, Tone::Plain),
        cell(text::name(row.from.as_ref()), Tone::Plain),
        cell(destination(row), Tone::Plain),
        cell(&row.why, Tone::Bad),
    ];
    if screen.wide {
        let packets = row.packets.map_or_else(|| NOTHING.to_owned(), |packets| packets.to_string());
        cells.extend([cell(packets, Tone::Plain), cell(time(row.first.as_ref()), Tone::Dim)]);
    }
    cells
}

/// `shop/database-0:5432/TCP`; an address of IPv6 in brackets.
fn destination(row: &v1::DropRow) -> String {
    let name = text::name(row.to.as_ref());
    let name = if name.contains(':') { format!("[{name}]") } else { name };
    match &row.port {
        Some(port) if port.protocol == "other" || port.number == 0 => format!("{name} ({})", port.protocol),
        Some(port) => format!("{name}:{}/{}", port.number, port.protocol),
        None => name,
    }
}

/// Flows that were not kept, by node.
fn missed(rows: &[v1::DropRow], screen: Screen) -> String {
    let mut nodes: BTreeMap<&str, u64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.missed > 0) {
        let missed = nodes.entry(&row.node).or_default();
        *missed = (*missed).max(row.missed);
    }
    let lines = nodes.into_iter().map(|(node, missed)| {
        let place = if node.is_empty() { String::new() } else { format!(" on {node}") };
        let packets = text::count(missed, "more packet");
        let words = format!("! {packets} dropped{place}; no room was left for their flows");
        paint(&table::one_line(&words), Tone::Warning, screen.colour) + "\n"
    });
    lines.collect()
}

/// By workload, port and reason: those with most packets first.
pub(in crate::ask) fn top(rows: &[v1::DropRow], screen: Screen) -> String {
    if rows.is_empty() {
        return self::screen(rows, screen);
    }
    let mut grouped: BTreeMap<[String; 3], (u64, u64)> = BTreeMap::new();
    for row in flows(rows) {
        let by_workload = |end: &Option<v1::ShownEnd>| {
            let mut end = end.clone().unwrap_or_default();
            if let (Some(namespace), Some(workload)) = (&end.namespace, &end.workload) {
                end.name = format!("{namespace}/{workload}");
            }
            Some(end)
        };
        let to = destination(&v1::DropRow { to: by_workload(&row.to), ..row.clone() });
        let key = [text::name(by_workload(&row.from).as_ref()), to, row.why.clone()];
        let (packets, flows) = grouped.entry(key).or_default();
        *packets = packets.saturating_add(row.packets.unwrap_or(1));
        *flows += 1;
    }
    let mut grouped: Vec<_> = grouped.into_iter().collect();
    // Stable: where counts are equal, the order is that of the names.
    grouped.sort_by_key(|(_, (packets, _))| std::cmp::Reverse(*packets));
    let cells: Vec<Vec<Cell>> = grouped
        .into_iter()
        .map(|([from, to, why], (packets, flows))| {
            vec![
                cell(packets.to_string(), Tone::Plain),
                cell(flows.to_string(), Tone::Plain),
                cell(from, Tone::Plain),
                cell(to, Tone::Plain),
                cell(why, Tone::Bad),
            ]
        })
        .collect();
    table::text(&["PACKETS", "FLOWS", "FROM", "TO", "WHY"], &cells, screen.colour) + &missed(rows, screen)
}
