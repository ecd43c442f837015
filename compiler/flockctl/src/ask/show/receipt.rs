//! `receipt`: what is enforced where, in a table; the file itself is JSON.

use flock_proto::v1;

use super::Screen;
use crate::ask::text::{self, NOTHING};
use crate::table::{self, Cell, Tone, cell, one_line, paint};

/// The nodes with their revisions, and what it comes to.
pub(in crate::ask) fn screen(receipt: &v1::Receipt, screen: Screen) -> String {
    let short = |revision: &str| revision.get(..text::REVISION).unwrap_or(revision).to_owned();
    let cells: Vec<Vec<Cell>> = receipt
        .nodes
        .iter()
        .map(|node| {
            let is_current = node.applied_revision.as_ref() == Some(&node.desired_revision);
            let tone = if is_current { Tone::Good } else { Tone::Bad };
            let applied = node.applied_revision.as_deref().map_or_else(|| NOTHING.to_owned(), short);
            let since = node.applied_since.as_ref().map(|at| text::clock(at, screen.now));
            vec![
                cell(&node.node, Tone::Plain),
                cell(short(&node.desired_revision), Tone::Plain),
                cell(applied, tone),
                cell(since.unwrap_or_else(|| NOTHING.to_owned()), Tone::Dim),
            ]
        })
        .collect();
    let policies = match receipt.policies.len() {
        1 => "1 policy".to_owned(),
        several => format!("{several} policies"),
    };
    let behind = receipt.nodes.iter().filter(|it| it.applied_revision.as_ref() != Some(&it.desired_revision));
    let behind = match (behind.count(), receipt.nodes.len()) {
        (0, _) => String::new(),
        (1, all) => format!("1 of {all} nodes has not acknowledged what it should have\n"),
        (several, all) => format!("{several} of {all} nodes have not acknowledged what they should have\n"),
    };
    let summary = format!(
        "{policies}, tables of layout {}, compiler {}; -o json writes the receipt for `flock-compiler verify`",
        receipt.layout_version,
        one_line(&receipt.compiler_version)
    );
    let heading = ["NODE", "DESIRED", "APPLIED", "SINCE"];
    table::text(&heading, &cells, screen.colour)
        + "\n"
        + &paint(&behind, Tone::Bad, screen.colour)
        + &paint(&summary, Tone::Dim, screen.colour)
        + "\n"
}
