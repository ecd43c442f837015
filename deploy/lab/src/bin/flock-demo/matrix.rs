//! A measured matrix beside the expected one: drawn, and counted.

use std::collections::BTreeMap;
use std::io;

use flock_lab::{Family, MatrixCell, Verdict};

use crate::scenario::{Column, Expected, PODS, PodPlan, columns};
use crate::screen::{Screen, Style};

/// The verdicts of one run, in both families.
pub(crate) struct Measured {
    verdicts: BTreeMap<MatrixCell, Verdict>,
}

/// What both families of a cell said, IPv4 first.
type Pair = [Option<Verdict>; 2];

impl Measured {
    pub(crate) const fn new(verdicts: BTreeMap<MatrixCell, Verdict>) -> Self {
        Self { verdicts }
    }

    /// Flows measured.
    pub(crate) fn flows(&self) -> usize {
        self.verdicts.len()
    }

    fn pair(&self, from: &PodPlan, column: &Column) -> Pair {
        [(Family::V4, column.pod.v4), (Family::V6, column.pod.v6)].map(|(_, address)| {
            let key = MatrixCell {
                from: from.name.to_owned(),
                to: column.pod.name.to_owned(),
                address: address.parse().ok()?,
                protocol: column.protocol,
                port: column.port,
            };
            self.verdicts.get(&key).copied()
        })
    }

    /// One line per flow that is not as `expected`.
    pub(crate) fn differences(&self, expected: &Expected) -> Vec<String> {
        let mut lines = Vec::new();
        for (from, row) in PODS.iter().zip(expected) {
            for (column, letter) in columns().iter().zip(row.split(' ')) {
                let Some(wanted) = verdict(letter) else { continue };
                for (family, found) in ["IPv4", "IPv6"].iter().zip(self.pair(from, column)) {
                    if found != Some(wanted) {
                        let found =
                            found.map_or_else(|| "not measured".to_owned(), |found| found.to_string());
                        let (to, protocol, port) = (column.pod.name, column.protocol, column.port);
                        lines.push(format!(
                            "{} → {to} {protocol} {port} ({family}): {found}, expected {wanted}",
                            from.name
                        ));
                    }
                }
            }
        }
        lines
    }

    /// Draws the matrix; cells that differ from `before` stand out.
    pub(crate) fn draw(&self, screen: &Screen, expected: &Expected, before: Option<&Self>) -> io::Result<()> {
        let columns = columns();
        let rule = |left: &str, middle: &str, right: &str| {
            let cells = vec!["─".repeat(WIDTH); columns.len()].join(middle);
            screen.line(Style::Dim, &format!("  {left}{}{middle}{cells}{right}", "─".repeat(LABEL)))
        };
        let bar = screen.paint(Style::Dim, "│");
        let header = |style, label: &str, text: &dyn Fn(&Column) -> String| {
            let cells: Vec<_> =
                columns.iter().map(|column| screen.paint(style, &centred(&text(column)))).collect();
            let label = screen.paint(Style::Dim, &format!("{label:<LABEL$}"));
            screen.raw(&format!("  {bar}{label}{bar}{}{bar}\n", cells.join(&bar)))
        };
        rule("┌", "┬", "┐")?;
        header(Style::Bold, " from ╲ to", &|column| column.pod.name.to_owned())?;
        header(Style::Dim, "", &|column| format!("{} {}", column.protocol, column.port).to_lowercase())?;
        rule("├", "┼", "┤")?;
        for (from, row) in PODS.iter().zip(expected) {
            let cells: Vec<_> = columns
                .iter()
                .zip(row.split(' '))
                .map(|(column, letter)| {
                    let pair = self.pair(from, column);
                    let changed = before.is_some_and(|before| before.pair(from, column) != pair);
                    cell(screen, pair, verdict(letter), changed)
                })
                .collect();
            let label = screen.paint(Style::Bold, &format!(" {:<width$}", from.name, width = LABEL - 1));
            screen.raw(&format!("  {bar}{label}{bar}{}{bar}\n", cells.join(&bar)))?;
        }
        rule("└", "┴", "┘")
    }
}

/// Explains the signs of a matrix.
pub(crate) fn legend(screen: &Screen) -> io::Result<()> {
    let sign = |style, sign: &str, words: &str| {
        format!("{} {}", screen.paint(style, sign), screen.paint(Style::Dim, words))
    };
    screen.raw(&format!(
        "  {}   {}   {}   {}\n",
        sign(Style::Green, "●", "reached"),
        sign(Style::Plain, "·", "dropped"),
        sign(Style::Green, "✓", "as the policies say"),
        sign(Style::Red, "✗", "not so"),
    ))?;
    screen.line(Style::Dim, "  Two signs per cell: IPv4 and IPv6. Every one is an exchange of real packets.")
}

const LABEL: usize = 11;
const WIDTH: usize = 8;

fn centred(text: &str) -> String {
    format!("{text:^WIDTH$}")
}

fn verdict(letter: &str) -> Option<Verdict> {
    match letter {
        "y" => Some(Verdict::Reached),
        "." => Some(Verdict::Dropped),
        _ => None,
    }
}

fn cell(screen: &Screen, found: Pair, wanted: Option<Verdict>, changed: bool) -> String {
    let Some(wanted) = wanted else {
        return screen.paint(Style::Dim, &centred("—"));
    };
    let signs = found.map(|found| match found {
        Some(Verdict::Reached) => "●",
        Some(Verdict::Dropped) => "·",
        None => "?",
    });
    let right = found == [Some(wanted); 2];
    let mark = if right { "✓" } else { "✗" };
    let (left, gap, end) = if changed { ("▸", " ", "◂") } else { (" ", " ", " ") };
    let body = format!("{}{gap}{}", signs[0], signs[1]);
    if changed && right {
        return screen.paint(Style::Changed, &format!("{left}{body} {mark} {end}"));
    }
    let style = if !right {
        Style::Red
    } else if wanted == Verdict::Reached {
        Style::Green
    } else {
        Style::Plain
    };
    let mark = screen.paint(if right { Style::Dim } else { Style::Red }, mark);
    format!("{left}{} {mark} {end}", screen.paint(style, &body))
}
