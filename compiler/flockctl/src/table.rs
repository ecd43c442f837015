//! Tables for people: aligned columns, coloured on a terminal only.

use std::io::{self, IsTerminal as _, Write};

/// How a cell should look on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    Plain,
    /// Headings and secondary facts.
    Dim,
    /// As it should be.
    Good,
    /// Not yet as it should be.
    Warning,
    /// Wrong.
    Bad,
}

/// A cell.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Its text and tone.
    pub(crate) fn into_parts(self) -> (String, Tone) {
        (self.text, self.tone)
    }
}

/// A cell of some tone.
pub(crate) fn cell(text: impl Into<String>, tone: Tone) -> Cell {
    Cell { text: one_line(&text.into()), tone }
}

/// Text that stays on one line and tells a terminal nothing, whatever a tenant or an agent said.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_invisible(c) { ' ' } else { c }).collect()
}

/// Returns true for what turns the direction of text or takes no room.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Paints `text` if `colour` is on.
pub(crate) fn paint(text: &str, tone: Tone, colour: bool) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Dim => "2",
        Tone::Good => "32",
        Tone::Warning => "33",
        Tone::Bad => "31",
    };
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Returns true if standard output is a terminal that wants colours (`NO_COLOR` is honoured).
pub(crate) fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes rows below a heading, each column as wide as its widest cell.
///
/// # Errors
/// When the output is gone.
pub(crate) fn write(
    out: &mut impl Write,
    heading: &[&str],
    rows: &[Vec<Cell>],
    colour: bool,
) -> io::Result<()> {
    let heading: Vec<Cell> = heading.iter().map(|text| cell(*text, Tone::Dim)).collect();
    let all = || std::iter::once(&heading).chain(rows);
    let widths: Vec<usize> = (0..heading.len())
        .map(|column| {
            all().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in all() {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            line.push_str(&paint(&cell.text, cell.tone, colour));
            if index + 1 < row.len() {
                // By the text alone: colours are codes that take no room.
                line.push_str(&" ".repeat(width - cell.text.chars().count() + 2));
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The same as text.
pub(crate) fn text(heading: &[&str], rows: &[Vec<Cell>], colour: bool) -> String {
    let mut out = Vec::new();
    // Writing into memory cannot fail.
    let _ = write(&mut out, heading, rows, colour);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_rows_stay_on_one_line() {
        let rows = [
            vec![cell("n1", Tone::Plain), cell("a\nb", Tone::Bad), cell("x", Tone::Plain)],
            vec![cell("node-22", Tone::Plain), cell("c", Tone::Good), cell("", Tone::Plain)],
        ];
        let mut out = Vec::new();
        write(&mut out, &["NODE", "STATE", "ERROR"], &rows, false).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "NODE     STATE  ERROR\nn1       a b    x\nnode-22  c\n");
    }
}
