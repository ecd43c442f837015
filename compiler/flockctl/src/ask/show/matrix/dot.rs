//! A graph for Graphviz: workloads as nodes, in a box for each namespace, what passes as edges.

use std::collections::{BTreeMap, BTreeSet};

use flock_proto::v1;

use crate::ask::text;
use crate::table::one_line;

/// What passes, as a directed graph.
pub(in crate::ask) fn dot(rows: &[v1::MatrixRow]) -> String {
    let mut namespaces: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for end in rows.iter().flat_map(|row| [&row.from, &row.to]).flatten() {
        namespaces.entry(end.namespace.as_deref().unwrap_or_default()).or_default().insert(&end.name);
    }
    let mut out = "digraph flock {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n".to_owned();
    for (index, (namespace, names)) in namespaces.iter().enumerate() {
        let (mut indent, mut end) = ("  ", "");
        if !namespace.is_empty() {
            // Graphviz draws a box for names that begin with `cluster`. A number follows, for a namespace may be no
            // identifier.
            out.push_str(&format!("  subgraph cluster_{index} {{\n    label={};\n", quoted(namespace)));
            (indent, end) = ("    ", "  }\n");
        }
        for name in names {
            let label = name.strip_prefix(namespace).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
            out.push_str(&format!("{indent}{} [label={}];\n", quoted(name), quoted(label)));
        }
        out.push_str(end);
    }
    for row in rows.iter().filter(|row| row.everything || !row.ports.is_empty()) {
        let [from, to] = [&row.from, &row.to].map(|end| quoted(&text::name(end.as_ref())));
        let ports = quoted(&text::ports_or_everything(&row.ports, row.everything));
        out.push_str(&format!("  {from} -> {to} [label={ports}];\n"));
    }
    out.push_str("}\n");
    out
}

fn quoted(text: &str) -> String {
    // Backslashes first: those that quotes get must not be doubled.
    format!("\"{}\"", one_line(text).replace('\\', "\\\\").replace('"', "\\\""))
}
