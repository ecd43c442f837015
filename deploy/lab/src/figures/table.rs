//! A table of figures: aligned for people, or in Markdown. A figure with a bar says whether it is met.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

/// One figure or word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    bar: Option<Bar>,
}

/// Whether a figure is what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// It is.
    Met,
    /// It is not.
    Missed,
}

/// Rows under a header. The first column is words and stands left; the others are figures and stand right.
#[derive(Debug, Clone, Default)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Cell {
    /// A figure that should be at most so much, if anything is asked of it.
    #[must_use]
    pub fn at_most(text: impl Into<String>, figure: f64, most: impl Into<Option<f64>>) -> Self {
        let bar = most.into().map(|most| if figure <= most { Bar::Met } else { Bar::Missed });
        Self { text: text.into(), bar }
    }

    fn shown(&self) -> String {
        let mark = match self.bar {
            None => "",
            Some(Bar::Met) => " ✓",
            Some(Bar::Missed) => " ✗",
        };
        format!("{}{mark}", self.text)
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), bar: None }
    }
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new<T: Into<String>>(header: impl IntoIterator<Item = T>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Adds a row of as many cells as the header has.
    pub fn cells(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Prints the table on standard output; in colour only where a terminal shows it and `NO_COLOR` is not set.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn print(&self, markdown: bool) -> io::Result<()> {
        let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let text = if markdown { self.markdown() } else { self.aligned(colours) };
        io::stdout().lock().write_all(text.as_bytes())
    }

    fn widths(&self) -> Vec<usize> {
        let of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| width(&cell.shown()));
            cells.chain(self.header.get(column).map(|text| width(text))).max().unwrap_or(0)
        };
        (0..self.header.len()).map(of).collect()
    }

    fn aligned(&self, colours: bool) -> String {
        let widths = self.widths();
        let paint = |code: &str, text: String| {
            if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text }
        };
        let mut out = String::new();
        for (column, (text, columns)) in self.header.iter().zip(&widths).enumerate() {
            out.push_str(&paint("1", aligned(column, text, *columns)));
        }
        out.push('\n');
        for row in &self.rows {
            for (column, (cell, columns)) in row.iter().zip(&widths).enumerate() {
                let text = aligned(column, &cell.shown(), *columns);
                out.push_str(&match cell.bar {
                    None => text,
                    Some(Bar::Met) => paint("32", text),
                    Some(Bar::Missed) => paint("31", text),
                });
            }
            out.push('\n');
        }
        out
    }

    fn markdown(&self) -> String {
        let mut out = format!("| {} |\n|", self.header.join(" | "));
        for column in 0..self.header.len() {
            out.push_str(if column == 0 { "---|" } else { "---:|" });
        }
        out.push('\n');
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(Cell::shown).collect();
            // Writing to a String cannot fail.
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
        out
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn aligned(column: usize, text: &str, columns: usize) -> String {
    let gap = " ".repeat(columns.saturating_sub(width(text)));
    if column == 0 { format!("{text}{gap}") } else { format!("   {gap}{text}") }
}

/// A number of bytes in the unit that suits it, thousand-based.
#[must_use]
pub fn bytes(count: u64) -> String {
    let figure = |divisor: u64, unit: &str| {
        let tenths = count.saturating_mul(10) / divisor;
        if tenths < 100 {
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        } else {
            format!("{} {unit}", count.saturating_add(divisor / 2) / divisor)
        }
    };
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => figure(1_000, "kB"),
        1_000_000..1_000_000_000 => figure(1_000_000, "MB"),
        _ => figure(1_000_000_000, "GB"),
    }
}

/// A duration in seconds, in the unit that suits it.
#[must_use]
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 0.000_1 => format!("{:.1} µs", s * 1e6),
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 0.01 => format!("{:.2} ms", s * 1e3),
        s if s < 0.1 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 600.0 => format!("{s:.0} s"),
        s if s < 36_000.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// A duration in milliseconds, as a number.
#[must_use]
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters() {
        let mut table = Table::new(["what", "µs"]);
        table.row(["a".into(), Cell::at_most("7", 7.0, 7.0)]);
        table.row(["long".into(), Cell::at_most("12", 12.0, 7.0)]);
        assert_eq!(table.aligned(false), "what     µs\na       7 ✓\nlong   12 ✗\n");
        assert_eq!(table.markdown(), "| what | µs |\n|---|---:|\n| a | 7 ✓ |\n| long | 12 ✗ |\n");
    }

    #[test]
    fn units_suit_the_size() {
        assert_eq!([999, 1_000, 1_234_567, 65_400_000].map(bytes), ["999 B", "1.0 kB", "1.2 MB", "65 MB"]);
        assert_eq!(
            [0.000_002_5, 0.0042, 0.5, 1.5, 7_200.0].map(time),
            ["2.5 µs", "4.20 ms", "500 ms", "1.50 s", "120 min"]
        );
    }
}
