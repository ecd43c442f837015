//! Findings of `lint`: Markdown for a pull request, SARIF for a code host.

use flock_ask::Lint;
use flock_proto::v1::{Finding, Severity};
use serde_json::Value;

use super::markdown::{code, escaped, table};
use super::sarif::{self, Level};

/// What an origin is that is no file.
const API_SERVER: &str = "kubernetes";

/// What they come to: "1 error, 2 warnings, 1 info".
pub(crate) fn summary(findings: &[Finding]) -> String {
    let counts = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Info, "info")];
    let counted: Vec<String> = counts
        .into_iter()
        .filter_map(|(severity, word)| {
            let count = findings.iter().filter(|finding| finding.severity() == severity).count();
            match (count, severity) {
                (0, _) => None,
                (1, _) | (_, Severity::Info) => Some(format!("{count} {word}")),
                _ => Some(format!("{count} {word}s")),
            }
        })
        .collect();
    if counted.is_empty() { "nothing found".to_owned() } else { counted.join(", ") }
}

/// For a pull request.
pub(crate) fn markdown(findings: &[Finding]) -> String {
    let mut out = format!("**{}**\n", summary(findings));
    if findings.is_empty() {
        return out;
    }
    let row = |finding: &Finding| {
        let place = match (&*finding.object, &*finding.field) {
            (object, "") => code(object),
            (object, field) => format!("{} {}", code(object), code(field)),
        };
        let words = match &*finding.suggestion {
            "" => escaped(&finding.message),
            suggestion => format!("{}. Perhaps {}", escaped(&finding.message), code(suggestion)),
        };
        let file = if finding.origin == API_SERVER { "" } else { &finding.origin };
        vec![word(finding).to_owned(), escaped(&finding.code), place, words, code(file)]
    };
    let rows: Vec<Vec<String>> = findings.iter().map(row).collect();
    out.push('\n');
    out.push_str(&table(&["", "Code", "Object", "Found", "File"], &rows));
    out
}

/// For a code host: all codes as rules, whether they are found or not.
pub(crate) fn sarif(findings: &[Finding], program: &str, version: &str) -> Value {
    let rule = |lint: &Lint| sarif::Rule {
        id: lint.as_str(),
        title: lint.title(),
        help: lint.help(),
        level: level(lint.severity()),
    };
    let rules: Vec<sarif::Rule<'_>> = Lint::ALL.iter().map(rule).collect();
    let results: Vec<sarif::Result<'_>> = findings.iter().map(result).collect();
    sarif::log(program, version, &rules, &results)
}

fn result(finding: &Finding) -> sarif::Result<'_> {
    sarif::Result {
        rule: &finding.code,
        level: level(finding.severity()),
        message: sentence(finding),
        // What is from the API server is in no file that a code host could show.
        file: if finding.origin == API_SERVER { "" } else { &finding.origin },
        object: &finding.object,
        field: &finding.field,
    }
}

const fn level(severity: Severity) -> Level {
    match severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warning,
        Severity::Info | Severity::Unspecified => Level::Note,
    }
}

fn word(finding: &Finding) -> &'static str {
    finding.severity().word().unwrap_or("-")
}

/// What was found, and what may have been meant.
fn sentence(finding: &Finding) -> String {
    match &*finding.suggestion {
        "" => finding.message.clone(),
        suggestion => format!("{}; perhaps {suggestion}", finding.message),
    }
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
