//! `preview`: what would open and close.

use flock_proto::v1;

use super::Screen;
use crate::ask::text::{self};
use crate::table::{self, Cell, Tone, cell, paint};

/// The rows below how many there are of each kind.
pub(in crate::ask) fn screen(rows: &[v1::PreviewRow], screen: Screen) -> String {
    if rows.is_empty() {
        return paint("nothing changes", Tone::Good, screen.colour) + "\n";
    }
    let count = |change| rows.iter().filter(|row| row.change() == change).count();
    let (opened, closed) = (count(v1::Change::Opened), count(v1::Change::Closed));
    let cells: Vec<Vec<Cell>> = rows
        .iter()
        .map(|row| {
            let (sign, tone) = match row.change() {
                v1::Change::Opened => ("+", Tone::Warning),
                v1::Change::Closed => ("-", Tone::Bad),
                v1::Change::Unspecified => ("?", Tone::Dim),
            };
            vec![
                cell(sign, tone),
                cell(text::name(row.from.as_ref()), Tone::Plain),
                cell(text::name(row.to.as_ref()), Tone::Plain),
                cell(text::ports_or_everything(&row.ports, row.everything), Tone::Plain),
                cell(&row.because, Tone::Dim),
            ]
        })
        .collect();
    // One blank less than between columns: a sign belongs to its row.
    let table = table::text(&["", "FROM", "TO", "PORTS", "BECAUSE"], &cells, screen.colour);
    format!("{opened} opened, {closed} closed\n{table}")
}
