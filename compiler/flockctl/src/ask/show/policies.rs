//! `policies`: what they select, where they are in force, and what is to be noted of them.

use flock_proto::v1;

use super::Screen;
use crate::ask::text::{self, NOTHING};
use crate::table::{self, Cell, Tone, cell, paint};

/// The rows; with a column of their namespaces unless it is one that was asked about.
pub(in crate::ask) fn screen(rows: &[v1::PolicyRow], namespace: Option<&str>, screen: Screen) -> String {
    if rows.is_empty() {
        let scope = namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
        return paint(&format!("no policies{scope}"), Tone::Dim, screen.colour) + "\n";
    }
    let mut heading =
        vec!["NAME", "PODS", "NODES", "ENFORCED", "SINCE", "INGRESS", "EGRESS", "DROPS 15m", "NOTES"];
    if namespace.is_none() {
        heading.insert(0, "NAMESPACE");
    }
    if screen.wide {
        heading.extend(["NOT ENFORCED ON", "UID", "RESOURCE VERSION"]);
    }
    let cells: Vec<Vec<Cell>> = rows
        .iter()
        .map(|row| {
            let mut cells = cells(row, screen);
            if namespace.is_none() {
                cells.insert(0, cell(&row.namespace, Tone::Plain));
            }
            cells
        })
        .collect();
    table::text(&heading, &cells, screen.colour)
}

fn cells(row: &v1::PolicyRow, screen: Screen) -> Vec<Cell> {
    let enforced = match row.enforced {
        // On no node it is neither in force nor not.
        _ if row.nodes == 0 => cell(NOTHING, Tone::Dim),
        None => cell(NOTHING, Tone::Dim),
        Some(enforced) if enforced >= row.nodes => cell(format!("{enforced}/{}", row.nodes), Tone::Good),
        Some(enforced) => cell(format!("{enforced}/{}", row.nodes), Tone::Bad),
    };
    let rules = |rules: Option<u32>| match rules {
        None => cell(NOTHING, Tone::Dim),
        Some(rules) => cell(text::count(u64::from(rules), "rule"), Tone::Plain),
    };
    let drops = match row.drops {
        None => cell(NOTHING, Tone::Dim),
        Some(0) => cell("0", Tone::Dim),
        Some(drops) => cell(drops.to_string(), Tone::Warning),
    };
    let mut notes: Vec<&str> = row.notes.iter().map(String::as_str).collect();
    if !row.understood {
        notes.insert(0, "not understood");
    }
    let since = row.since.as_ref().map_or_else(|| NOTHING.to_owned(), |at| text::age(at, screen.now));
    let mut cells = vec![
        cell(&row.name, Tone::Plain),
        cell(row.pods.to_string(), Tone::Plain),
        cell(row.nodes.to_string(), Tone::Plain),
        enforced,
        cell(since, Tone::Dim),
        rules(row.ingress_rules),
        rules(row.egress_rules),
        drops,
        cell(notes.join(" "), Tone::Warning),
    ];
    if screen.wide {
        let or_nothing =
            |text: Option<&str>| cell(text.filter(|it| !it.is_empty()).unwrap_or(NOTHING), Tone::Dim);
        let missing = row.missing.join(", ");
        cells.extend([
            or_nothing(Some(&missing)),
            or_nothing(row.uid.as_deref()),
            or_nothing(row.resource_version.as_deref()),
        ]);
    }
    cells
}
