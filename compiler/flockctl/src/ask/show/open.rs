//! `open`: the pods that nothing isolates, by workload and direction.

use flock_proto::v1;

use super::Screen;
use crate::ask::text;
use crate::table::{self, Tone, cell, paint};

/// The rows, or that there are none.
pub(in crate::ask) fn screen(rows: &[v1::OpenRow], namespace: Option<&str>, screen: Screen) -> String {
    if rows.is_empty() {
        let scope = namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
        let words = format!("no open pods{scope}: policies isolate each in both directions");
        return paint(&words, Tone::Good, screen.colour) + "\n";
    }
    let part = |open: u32, pods: u32| match open {
        0 => cell("isolated", Tone::Good),
        open if open == pods => cell("open", Tone::Warning),
        open => cell(format!("{open} of {pods} open"), Tone::Warning),
    };
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            vec![
                cell(text::name(row.workload.as_ref()), Tone::Plain),
                cell(row.pods.to_string(), Tone::Plain),
                part(row.open_ingress, row.pods),
                part(row.open_egress, row.pods),
            ]
        })
        .collect();
    table::text(&["WORKLOAD", "PODS", "INGRESS", "EGRESS"], &cells, screen.colour)
}
