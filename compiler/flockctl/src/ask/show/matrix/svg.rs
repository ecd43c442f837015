//! A picture: a grid of squares, with what passes as the tooltip of each.

use flock_proto::v1;

use super::Grid;
use crate::table::one_line;

/// Side of a square, in pixels.
const SIDE: usize = 22;
/// Pixels of a letter: of a sans-serif of 12 px, rather more than less.
const LETTER: usize = 7;
/// Pixels of the line below the grid.
const LEGEND: usize = 400;

/// What passes, as a grid: sources down, destinations across.
pub(in crate::ask) fn svg(rows: &[v1::MatrixRow]) -> String {
    let grid = Grid::new(rows);
    let longest = |names: &[&str]| names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let left = longest(&grid.sources) * LETTER + 16;
    let top = longest(&grid.destinations) * LETTER + 16;
    let width = (left + grid.destinations.len() * SIDE + 16).max(LEGEND);
    let height = top + grid.sources.len() * SIDE + 40;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (index, to) in grid.destinations.iter().enumerate() {
        let x = left + index * SIDE + SIDE / 2 + 4;
        let y = top - 8;
        out.push_str(&format!("<text transform=\"translate({x},{y}) rotate(-90)\">{}</text>\n", escaped(to)));
    }
    for (row, from) in grid.sources.iter().enumerate() {
        let y = top + row * SIDE;
        let (x, baseline) = (left - 8, y + SIDE / 2 + 4);
        out.push_str(&format!(
            "<text x=\"{x}\" y=\"{baseline}\" text-anchor=\"end\">{}</text>\n",
            escaped(from)
        ));
        for (column, to) in grid.destinations.iter().enumerate() {
            let (fill, words) = match grid.cell(from, to) {
                None => ("#ffffff", "not asked about"),
                Some("") => ("#eceff1", "nothing"),
                Some("everything") => ("#ef9a3c", "everything"),
                Some(ports) => ("#5b9bd5", ports),
            };
            let x = left + column * SIDE;
            let title = escaped(&format!("{from} → {to}: {words}"));
            let side = SIDE - 2;
            out.push_str(&format!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\" fill=\"{fill}\"><title>{title}</title></rect>\n"
            ));
        }
    }
    let y = height - 14;
    out.push_str(&format!(
        "<text x=\"8\" y=\"{y}\" fill=\"#555555\">grey: nothing passes; blue: some ports; orange: everything</text>\n</svg>\n"
    ));
    out
}

fn escaped(text: &str) -> String {
    // Names are tenants' text: a browser must take nothing of it for markup.
    let plain = one_line(text);
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
