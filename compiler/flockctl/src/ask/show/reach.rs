//! `who-can reach` and `reach`: the other ends, at which ports, and what allows it.

use flock_proto::v1;
use flock_proto::v1::end::End;

use super::Screen;
use crate::ask::text::{self, NOTHING};
use crate::table::{self, Cell, Tone, cell, paint};

/// The rows of who may reach an end (ingress) or what an end may reach (egress).
pub(in crate::ask) fn screen(
    rows: &[v1::ReachRow],
    asked: Option<&End>,
    direction: v1::Direction,
    screen: Screen,
) -> String {
    let inward = direction == v1::Direction::Ingress;
    if rows.is_empty() {
        let words = if inward { "nothing may reach it" } else { "it may reach nothing" };
        return paint(words, Tone::Warning, screen.colour) + "\n";
    }
    // Where the end stands for several, and a row is about some of these, each is named.
    let several = rows.iter().any(|row| row.end != rows.first().and_then(|first| first.end.clone()))
        || rows.iter().any(|row| !is_all_of(asked, row.end.as_ref()));
    let mut heading = vec![if inward { "FROM" } else { "TO" }, "PORTS", "BECAUSE"];
    if several {
        heading.insert(usize::from(inward), if inward { "TO" } else { "FROM" });
    }
    if screen.wide {
        heading.extend(["PODS", "ADDRESS", "NODE"]);
    }
    let cells: Vec<Vec<Cell>> =
        rows.iter().map(|row| cells(row, several.then_some(inward), screen)).collect();
    table::text(&heading, &cells, screen.colour)
}

/// Returns true if what is shown is all that was asked about.
fn is_all_of(asked: Option<&End>, shown: Option<&v1::ShownEnd>) -> bool {
    let Some(shown) = shown else { return true };
    match asked {
        Some(End::Workload(asked)) => {
            shown.name == format!("{}/{}/{}", asked.namespace, asked.kind, asked.name)
        }
        Some(End::Service(service)) => {
            shown.endpoints.is_none_or(|own| own as usize == service.endpoints.len())
        }
        Some(End::Selection(_)) => false,
        _ => true,
    }
}

fn cells(row: &v1::ReachRow, named: Option<bool>, screen: Screen) -> Vec<Cell> {
    let because = match (row.because.is_empty(), row.words.is_empty()) {
        // Which addresses that is about, where it is not so for all.
        (false, _) => match row.words.split_once(": allowed by ") {
            Some((addresses, _)) => format!("{addresses}: {}", text::cites(&row.because)),
            None => text::cites(&row.because),
        },
        (true, false) => row.words.clone(),
        (true, true) => "nothing isolates either end".to_owned(),
    };
    let mut cells = vec![
        cell(text::name(row.other.as_ref()), Tone::Plain),
        cell(text::ports(&row.ports), Tone::Plain),
        cell(because, Tone::Dim),
    ];
    if let Some(inward) = named {
        cells.insert(usize::from(inward), cell(text::name(row.end.as_ref()), Tone::Plain));
    }
    if screen.wide {
        let other = row.other.clone().unwrap_or_default();
        let or_nothing = |text: Option<String>| cell(text.unwrap_or_else(|| NOTHING.to_owned()), Tone::Plain);
        let pods = (other.pods > 0).then(|| other.pods.to_string());
        cells.extend([or_nothing(pods), or_nothing(other.address), or_nothing(other.node)]);
    }
    cells
}
