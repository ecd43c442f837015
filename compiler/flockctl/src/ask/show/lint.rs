//! `lint`: what is probably not meant.

use flock_proto::v1;

use super::Screen;
use crate::ask::text;
use crate::table::{self, Cell, Tone, cell, paint};

/// The rows, those of most weight first as they came, and how many are below what was asked for.
pub(in crate::ask) fn screen(rows: &[v1::Finding], below: usize, screen: Screen) -> String {
    let more = match below {
        0 => String::new(),
        below => {
            let words = format!(
                "{} of less weight: --min-severity info shows all",
                text::count(below as u64, "finding")
            );
            paint(&words, Tone::Dim, screen.colour) + "\n"
        }
    };
    if rows.is_empty() {
        return paint("no findings", Tone::Good, screen.colour) + "\n" + &more;
    }
    let mut heading = vec!["SEVERITY", "CODE", "OBJECT", "FIELD", "FINDING"];
    if screen.wide {
        heading.extend(["SUGGESTION", "ORIGIN"]);
    }
    let cells: Vec<Vec<Cell>> = rows.iter().map(|finding| cells(finding, screen)).collect();
    table::text(&heading, &cells, screen.colour) + &more
}

fn cells(finding: &v1::Finding, screen: Screen) -> Vec<Cell> {
    let severity = finding.severity();
    let (sign, tone) = match severity {
        v1::Severity::Error => ("✗", Tone::Bad),
        v1::Severity::Warning => ("!", Tone::Warning),
        v1::Severity::Info | v1::Severity::Unspecified => ("i", Tone::Dim),
    };
    let mut message = finding.message.clone();
    if !screen.wide && !finding.suggestion.is_empty() {
        message.push_str(&format!("; perhaps {}", finding.suggestion));
    }
    let mut cells = vec![
        cell(format!("{sign} {}", severity.word().unwrap_or("not known")), tone),
        cell(&finding.code, Tone::Plain),
        cell(&finding.object, Tone::Plain),
        cell(if finding.field.is_empty() { text::NOTHING } else { &finding.field }, Tone::Dim),
        cell(message, Tone::Plain),
    ];
    if screen.wide {
        cells.extend([cell(&finding.suggestion, Tone::Plain), cell(&finding.origin, Tone::Dim)]);
    }
    cells
}
