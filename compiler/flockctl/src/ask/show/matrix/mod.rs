//! `matrix`: what may reach what, by workload: as a grid while it fits, else as rows; and in the forms that other programs
//! draw or read.

mod dot;
mod svg;

use std::collections::{BTreeMap, BTreeSet};

use flock_proto::v1;

use super::Screen;
use crate::ask::text::{self, NOTHING};
use crate::table::{self, Cell, Tone, cell, one_line, paint};

pub(in crate::ask) use dot::dot;
pub(in crate::ask) use svg::svg;

/// A grid is no wider than this, in columns of a terminal: wider ones are rows.
const WIDEST: usize = 140;

/// The cells by their ends: sources in order of first mention, destinations as these are, then the others.
struct Grid<'a> {
    sources: Vec<&'a str>,
    destinations: Vec<&'a str>,
    cells: BTreeMap<(&'a str, &'a str), String>,
}

impl<'a> Grid<'a> {
    fn new(rows: &'a [v1::MatrixRow]) -> Self {
        let name = |end: &'a Option<v1::ShownEnd>| end.as_ref().map_or(NOTHING, |end| end.name.as_str());
        let mut grid = Self { sources: Vec::new(), destinations: Vec::new(), cells: BTreeMap::new() };
        let (mut sources, mut destinations) = (BTreeMap::new(), BTreeSet::new());
        for row in rows {
            let (from, to) = (name(&row.from), name(&row.to));
            let next = sources.len();
            // So it is once for each: one that is known has a smaller number.
            if *sources.entry(from).or_insert(next) == grid.sources.len() {
                grid.sources.push(from);
            }
            if destinations.insert(to) {
                grid.destinations.push(to);
            }
            grid.cells.insert((from, to), text::ports_or_everything(&row.ports, row.everything));
        }
        // An end is no destination of its own: in order of first mention the first one would be the last.
        grid.destinations.sort_by_key(|to| sources.get(to).copied().unwrap_or(usize::MAX));
        grid
    }

    /// What passes; empty: nothing does; `None`: it was not asked about.
    fn cell(&self, from: &'a str, to: &'a str) -> Option<&str> {
        self.cells.get(&(from, to)).map(String::as_str)
    }

    fn shown(&self, from: &'a str, to: &'a str) -> &str {
        match self.cell(from, to) {
            None => "",
            Some("") => NOTHING,
            Some(ports) => ports,
        }
    }
}

/// For people.
pub(in crate::ask) fn screen(rows: &[v1::MatrixRow], screen: Screen) -> String {
    if rows.is_empty() {
        return paint("nothing to show: no pods", Tone::Dim, screen.colour) + "\n";
    }
    let grid = Grid::new(rows);
    let tone = |ports: &str| match ports {
        NOTHING => Tone::Dim,
        "everything" => Tone::Warning,
        _ => Tone::Plain,
    };
    let mut heading = vec!["FROM \\ TO"];
    heading.extend(&grid.destinations);
    let cells: Vec<Vec<Cell>> = grid
        .sources
        .iter()
        .map(|from| {
            let ports = grid.destinations.iter().map(|to| {
                let ports = grid.shown(from, to);
                cell(ports, tone(ports))
            });
            std::iter::once(cell(*from, Tone::Plain)).chain(ports).collect()
        })
        .collect();
    // Measured without colours, whose codes take no room on a terminal.
    let text = table::text(&heading, &cells, false);
    if !screen.wide && text.lines().map(|line| line.chars().count()).max().unwrap_or_default() > WIDEST {
        return listed(rows, screen);
    }
    table::text(&heading, &cells, screen.colour)
}

/// As rows; what nothing passes between is left out.
fn listed(rows: &[v1::MatrixRow], screen: Screen) -> String {
    let passing = rows.iter().filter(|row| row.everything || !row.ports.is_empty());
    let mut last = None;
    let cells: Vec<Vec<Cell>> = passing
        .map(|row| {
            let from = text::name(row.from.as_ref());
            // Each source is named once.
            let shown = if last.as_ref() == Some(&from) { String::new() } else { from.clone() };
            last = Some(from);
            vec![
                cell(shown, Tone::Plain),
                cell(text::name(row.to.as_ref()), Tone::Plain),
                cell(text::ports_or_everything(&row.ports, row.everything), Tone::Plain),
            ]
        })
        .collect();
    table::text(&["FROM", "TO", "PORTS"], &cells, screen.colour)
}

/// A table of Markdown.
pub(in crate::ask) fn markdown(rows: &[v1::MatrixRow]) -> String {
    let grid = Grid::new(rows);
    // What a name or a port's name holds must not end a cell or begin a link.
    let safe = |text: &str| {
        let text = one_line(text);
        let plain = text.chars().flat_map(|c| match c {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' => vec!['\\', c],
            c => vec![c],
        });
        plain.collect::<String>()
    };
    let row = |first: &str, rest: Vec<String>| format!("| {first} | {} |\n", rest.join(" | "));
    let mut out = row("from \\\\ to", grid.destinations.iter().map(|to| safe(to)).collect());
    out.push_str(&row("---", grid.destinations.iter().map(|_| "---".to_owned()).collect()));
    for from in &grid.sources {
        out.push_str(&row(
            &safe(from),
            grid.destinations.iter().map(|to| safe(grid.shown(from, to))).collect(),
        ));
    }
    out
}

/// Rows of RFC 4180: from, to, ports; `everything` for all of them, nothing for none.
pub(in crate::ask) fn csv(rows: &[v1::MatrixRow]) -> String {
    let quoted = |text: &str| {
        let text = one_line(text);
        // What a spreadsheet would take for a formula is none.
        let text = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text };
        match text.contains([',', '"', ';']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text,
        }
    };
    let mut out = "from,to,ports\n".to_owned();
    for row in rows {
        let [from, to] = [&row.from, &row.to].map(|end| quoted(&text::name(end.as_ref())));
        let ports = quoted(&text::ports_or_everything(&row.ports, row.everything));
        out.push_str(&format!("{from},{to},{ports}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(from: &str, to: &str, ports: Vec<v1::PortAtom>) -> v1::MatrixRow {
        let end = |name: &str| Some(v1::ShownEnd { name: name.to_owned(), ..v1::ShownEnd::default() });
        v1::MatrixRow { from: end(from), to: end(to), ports, everything: false }
    }

    fn tcp(first: u32, name: &str) -> v1::PortAtom {
        v1::PortAtom { protocol: "TCP".into(), first, last: first, name: name.into(), any_other: false }
    }

    #[test]
    fn hostile_names_stay_in_their_cells() {
        let rows = [row("a|b", "=x\u{1b}[0m", vec![tcp(80, "<b>\"&]")])];
        let markdown = markdown(&rows);
        assert!(
            markdown.contains("a\\|b") && markdown.contains("\\<b\\>") && !markdown.contains('\u{1b}'),
            "{markdown}"
        );
        assert_eq!(csv(&rows), "from,to,ports\na|b,'=x [0m,\"TCP 80 (<b>\"\"&])\"\n");
        let dot = dot(&rows);
        assert!(dot.contains("\\\"&]") && !dot.contains('\u{1b}'), "{dot}");
        let svg = svg(&rows);
        assert!(
            !svg.contains("<b>") && svg.contains("&lt;b&gt;&quot;&amp;]") && !svg.contains('\u{1b}'),
            "{svg}"
        );
    }

    #[test]
    fn destinations_are_in_the_order_of_sources() {
        let pairs = [("a", "b"), ("a", "internet"), ("b", "a"), ("x", "a")];
        let rows = pairs.map(|(from, to)| row(from, to, Vec::new()));
        let markdown = markdown(&rows);
        assert_eq!(markdown.lines().next(), Some(r"| from \\ to | a | b | internet |"), "{markdown}");
    }

    #[test]
    fn a_grid_that_is_too_wide_is_told_in_rows() {
        let names: Vec<String> = (0..20).map(|number| format!("shop/deploy/workload-{number}")).collect();
        let rows: Vec<_> = names.iter().map(|name| row("shop/deploy/api", name, vec![tcp(80, "")])).collect();
        let screen = |rows| {
            super::screen(rows, Screen { wide: false, colour: false, now: std::time::SystemTime::UNIX_EPOCH })
        };
        assert!(screen(&rows[..2]).starts_with("FROM \\ TO "), "{}", screen(&rows[..2]));
        assert_eq!(screen(&rows).lines().count(), 21);
        assert!(screen(&rows).starts_with("FROM "));
    }
}
