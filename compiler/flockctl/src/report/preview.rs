//! What `preview` says would change: Markdown for a pull request, SARIF for a code host, CSV for a sheet.

use flock_proto::v1::{Change, PreviewRow, ShownEnd};
use serde_json::Value;

use super::markdown::{code, escaped, table};
use super::sarif::{self, Level};
use crate::ask::text;

/// Rows that are in a pull request's comment, whose length hosts bound.
const ROWS: usize = 200;

/// The rules of a SARIF log.
const RULES: [sarif::Rule<'static>; 2] = [
    sarif::Rule {
        id: "flow-opened",
        title: "Flows that are denied would pass",
        help: "What is proposed allows these flows, or stops isolating a pod. See that this is meant.",
        level: Level::Warning,
    },
    sarif::Rule {
        id: "flow-closed",
        title: "Flows that pass would be denied",
        help: "What is proposed isolates a pod, or stops allowing these flows. See that nobody needs them.",
        level: Level::Warning,
    },
];

/// How many rows are opened and closed: "12 opened, 4 closed".
pub(crate) fn summary(rows: &[PreviewRow]) -> String {
    let count = |change| rows.iter().filter(|row| row.change() == change).count();
    format!("{} opened, {} closed", count(Change::Opened), count(Change::Closed))
}

/// For a pull request.
pub(crate) fn markdown(rows: &[PreviewRow]) -> String {
    if rows.is_empty() {
        return "**No flow opens or closes.**\n".to_owned();
    }
    let mut out = format!("**{}**\n\n", summary(rows));
    let cells = |row: &PreviewRow| {
        vec![
            sign(row).to_owned(),
            code(name(row.from.as_ref())),
            code(name(row.to.as_ref())),
            escaped(&ports(row)),
            escaped(&row.because),
        ]
    };
    let shown: Vec<Vec<String>> = rows.iter().take(ROWS).map(cells).collect();
    out.push_str(&table(&["", "From", "To", "Ports", "Because"], &shown));
    if rows.len() > ROWS {
        out.push_str(&format!("\nand {} more\n", rows.len() - ROWS));
    }
    out
}

/// For a code host: each row at the first of the files that bring it about.
pub(crate) fn sarif(rows: &[PreviewRow], program: &str, version: &str) -> Value {
    let flows: Vec<String> = rows.iter().map(flow).collect();
    let results: Vec<sarif::Result<'_>> =
        rows.iter().zip(&flows).map(|(row, flow)| result(row, flow)).collect();
    sarif::log(program, version, &RULES, &results)
}

fn result<'a>(row: &'a PreviewRow, flow: &'a str) -> sarif::Result<'a> {
    let [opened, closed] = &RULES;
    let (rule, becomes) = match row.change() {
        Change::Closed => (closed, "closed"),
        Change::Opened | Change::Unspecified => (opened, "opened"),
    };
    // What is deleted is in no file, and code hosts show results by file.
    let object = row.objects.iter().find(|object| !object.origin.is_empty()).or(row.objects.first());
    sarif::Result {
        rule: rule.id,
        level: rule.level,
        message: format!("{becomes}: {flow}; {}", row.because),
        file: object.map_or("", |object| &object.origin),
        object: object.map_or("", |object| &object.name),
        field: flow,
    }
}

/// RFC 4180, with a heading.
pub(crate) fn csv(rows: &[PreviewRow]) -> String {
    let mut out = String::from("change,from,to,ports,because,objects,files\r\n");
    for row in rows {
        let change = row.change().word().unwrap_or_default();
        let objects: Vec<&str> = row.objects.iter().map(|object| object.name.as_str()).collect();
        let mut files: Vec<&str> = row.objects.iter().map(|object| object.origin.as_str()).collect();
        files.sort_unstable();
        files.dedup();
        files.retain(|file| !file.is_empty());
        let (from, to) = (name(row.from.as_ref()), name(row.to.as_ref()));
        let cells = [change, from, to, &ports(row), &row.because, &objects.join("; "), &files.join("; ")];
        let cells: Vec<String> = cells.into_iter().map(quoted).collect();
        out.push_str(&cells.join(","));
        out.push_str("\r\n");
    }
    out
}

/// A cell that is text to every program: none takes it for a formula.
fn quoted(text: &str) -> String {
    let text = super::plain(text);
    let guard = if text.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

fn sign(row: &PreviewRow) -> &'static str {
    match row.change() {
        Change::Opened => "➕",
        Change::Closed => "➖",
        Change::Unspecified => "",
    }
}

fn name(end: Option<&ShownEnd>) -> &str {
    end.map_or("", |end| &end.name)
}

fn flow(row: &PreviewRow) -> String {
    format!("{} → {}: {}", name(row.from.as_ref()), name(row.to.as_ref()), ports(row))
}

fn ports(row: &PreviewRow) -> String {
    text::ports_or_everything(&row.ports, row.everything)
}

#[cfg(test)]
#[path = "preview_tests.rs"]
mod tests;
